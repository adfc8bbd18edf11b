"""Packages of strangers that seem to be installed: their entry points, in a folder or as an object."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path


def install(folder: Path, package: str, points: Mapping[str, str], *, version: str = "1.0") -> None:
    """Write what an installer leaves in `folder` of a package; `points` are `NAME = MODULE:THING` by plug-in kind.

    Called again, it writes another version in the place of the former.
    """
    about = folder / f"{package.replace('-', '_')}.dist-info"  # found by its name without dashes
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [f"[ebbdoor.{kind}]\n{point}\n" for kind, point in points.items()]
    (about / "entry_points.txt").write_text("".join(lines))


def entry_point(kind: str, name: str, where: str, package: Distribution | None = None) -> EntryPoint:
    """Return the entry point `name` of a plug-in, of `package` or of no distribution that is known."""
    found = EntryPoint(name, where, f"ebbdoor.{kind}")
    vars(found)["dist"] = package  # a frozen value, which only the list of a distribution sets
    return found
