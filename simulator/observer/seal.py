"""Digests of a run's exported files, kept in `summary.json`: a file that was edited is not taken for the run."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from simulator.errors import StoreError
from simulator.records import digest_of

#: the key of `summary.json`: file name -> SHA-256; its own is that of its other values
SEAL = "sha256"
_SELF = "summary.json"


def sealed(summary: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of `summary.json` with the digests of the other files and of itself.

    >>> sorted(sealed({"arms": {}}, {"periods.jsonl": ""})["sha256"])
    ['periods.jsonl', 'summary.json']
    """
    return {**summary, SEAL: {**{name: _digest(text) for name, text in texts.items()}, _SELF: digest_of(dict(summary))}}


def check_seal(folder: Path, summary: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Raise `StoreError` when a file is not as it was exported. Exports of earlier versions hold no digests."""
    noted = summary.get(SEAL)
    if noted is None:
        if _names_this_version(summary):
            raise StoreError(
                f"expected '{folder / _SELF}' to hold the digests (`{SEAL}`) that this version of ebbdoor writes, got "
                f"none: they were removed; write it anew with `ebbdoor report {shlex.quote(str(folder))}`, or restore "
                "it"
            )
        return
    known = noted if isinstance(noted, Mapping) else {}
    found = {name: _digest(text) for name, text in texts.items()}
    found[_SELF] = digest_of({key: value for key, value in summary.items() if key != SEAL})
    for name, digest in found.items():
        if known.get(name) != digest:
            raise StoreError(
                f"expected '{folder / name}' to be as ebbdoor exported it, got one that was changed; "
                f"write it anew with `ebbdoor report {shlex.quote(str(folder))}`, or restore it"
            )


def _names_this_version(summary: Mapping[str, Any]) -> bool:
    environment = summary.get("environment")
    return isinstance(environment, Mapping) and environment.get("ebbdoor") == version("ebbdoor")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
