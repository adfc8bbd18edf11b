"""The drop folder on disk. Every change is one atomic rename, so that a killed process leaves nothing half done.

`<folder>/*.npz` are waiting files; `accepted/0005-<stamp>-<sha256>.npz` is period 5; `set-aside/<name>` is a file that
was refused, `set-aside/<name>.reason.txt` the reason; `owner.json` names the run that the folder belongs to.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from simulator.errors import SourceError
from simulator.system.files import replace_file, sync
from simulator.system.locks import exclusive
from simulator.world.arrivals.contents import shown
from simulator.world.arrivals.names import Accepted, accepted_file

_LONGEST = 200  # bytes of a name; file systems allow 255, and the reason's suffix is added


@final
class DropFolder:
    """A drop folder. Raises `SourceError` when it is missing, damaged or cannot be read or written."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(os.path.realpath(os.path.expanduser(folder)))
        self._accepted = self.folder / "accepted"
        self._set_aside = self.folder / "set-aside"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other admitting processes; inside, an `OSError` becomes a `SourceError`."""
        self.check()
        try:
            with exclusive(self.folder / ".admission.lock"):
                for folder in (self._accepted, self._set_aside):
                    _make(folder)
                yield
        except OSError as error:
            raise SourceError(
                f"expected {self.folder} to be readable and writable, got {error}; "
                "correct that and go on: nothing is lost"
            ) from error

    def check(self) -> None:
        """Raise `SourceError` unless the folder is there and files can be moved in it."""
        self._check_there()
        if not os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
            raise SourceError(
                f"expected {self.folder} to be writable, so that accepted files can be moved, got one that is not; "
                "change its permissions"
            )

    def claim(self, run: str) -> None:
        """Record the run as the folder's owner; raise `SourceError` if another run owns it."""
        path = self.folder / "owner.json"
        if not path.exists():
            _write(path, json.dumps({"run": run}) + "\n")
        self.check_owner(run)

    def check_owner(self, run: str) -> None:
        """Raise `SourceError` if another run owns the folder. A folder without an owner is left without one."""
        path = self.folder / "owner.json"
        owner = _owner(path) if path.exists() else run
        if owner != run:
            raise SourceError(
                f"expected {self.folder} to belong to run '{run}', got run '{owner}'; "
                "give every run a drop folder of its own"
            )

    def waiting(self) -> list[str]:
        """Return the names of waiting files, unsorted: all that end in .npz and do not begin with a dot."""
        return [name for name in self._listed(self.folder) if name.endswith(".npz") and name[0] != "."]

    def accepted(self) -> list[Accepted]:
        """Return the accepted files, period 1 first. Raises `SourceError` when one is missing or there twice."""
        files = (file for name in self._listed(self._accepted) if (file := accepted_file(name)))
        found = sorted(files, key=lambda file: (file.period, file.name))
        for period, file in enumerate(found, start=1):
            if file.period != period:
                what = "two" if file.period < period else "none"
                raise SourceError(
                    f"expected {self._accepted} to hold one file for period {min(period, file.period)}, got {what}; "
                    "put it back as it was"
                )
        return found

    def path(self, file: Accepted) -> Path:
        """Return the path of an accepted file."""
        return self._accepted / file.name

    def accept(self, name: str, file: Accepted) -> None:
        """Make the waiting file `name` the period of `file`, atomically."""
        sync(self.folder / name, follow=False)  # its writer may not have synced it
        self._move(name, self.path(file))

    def set_aside(self, name: str, reason: str) -> None:
        """Move the waiting file `name` to `set-aside`, after writing the reason; no file there is overwritten."""
        target = self._free(name)
        _write(target.with_name(f"{target.name}.reason.txt"), reason + "\n")
        self._move(name, target)

    def _listed(self, folder: Path) -> list[str]:
        self._check_there()
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SourceError(f"expected {folder} to be readable, got {error}; change its permissions") from error

    def _check_there(self) -> None:
        if not os.path.isdir(self.folder):  # unlike Path.is_dir, it does not raise without permission
            what = "something else" if os.path.lexists(self.folder) else "no such folder"
            raise SourceError(
                f"expected stream.arrivals.folder to be a folder, got {what} at {self.folder}; make it, or correct it"
            )

    def _move(self, name: str, target: Path) -> None:
        os.rename(self.folder / name, target)
        sync(target.parent, follow=False)
        sync(self.folder, follow=False)

    def _free(self, name: str) -> Path:
        """Return a path in `set-aside` that does not exist yet."""
        stem = name.removesuffix(".npz")
        if len(os.fsencode(name)) > _LONGEST:
            stem = hashlib.sha256(os.fsencode(name)).hexdigest()
        target, number = self._set_aside / f"{stem}.npz", 1
        while os.path.lexists(target):
            number += 1
            target = self._set_aside / f"{stem}.{number}.npz"
        return target


def _make(folder: Path) -> None:
    """Make the folder unless it exists; a link is refused, because renames would follow it."""
    folder.mkdir(exist_ok=True)
    if folder.is_symlink():
        raise SourceError(f"expected {folder} to be a folder of its own, got a link; put a folder there")


def _owner(path: Path) -> Any:
    try:
        values = json.loads(path.read_text("utf-8"))
        return values["run"]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"expected {path} to name the run that the folder belongs to, got {shown(str(error))}; restore or remove it"
        ) from error


def _write(path: Path, text: str) -> None:
    """Write a file of ours. The name of the temporary file is fixed: the next try replaces what a kill left of it."""
    content = text.encode("utf-8", "backslashreplace")
    replace_file(path, content, partial=path.with_name(f".{path.name}.partial"))
