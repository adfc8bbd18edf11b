"""Relative paths in a scenario: they start from the folder of its file, and are absolute from then on."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: keys that hold a path, wherever they stand: options of plug-ins, of third parties too, and the drop folder
KEYS = ("path", "files", "file", "root", "folder", "image")

#: a key that holds a path only in this section
_FROM = ("base", "from")


def absolute(tree: Any, folder: Path, key: str = "") -> Any:
    """Return JSON values `tree`, found under the dotted `key`, with every relative path in it begun from `folder`.

    Keys may be dotted themselves, as the overrides of an arm are. A `~` stands for the user's home. Addresses (with
    `://`) and what is no text stay as they are.

    >>> absolute({"source": {"path": "a.npz"}, "base": {"from": "/b"}, "trusted": {"from": 3}}, Path("/x"))
    {'source': {'path': '/x/a.npz'}, 'base': {'from': '/b'}, 'trusted': {'from': 3}}
    """
    if isinstance(tree, Mapping):
        return {name: absolute(value, folder, f"{key}.{name}" if key else str(name)) for name, value in tree.items()}
    if isinstance(tree, list):
        return [absolute(value, folder, key) for value in tree]
    return _begun(tree, folder) if isinstance(tree, str) and _is_path(key) else tree


def _is_path(key: str) -> bool:
    parts = tuple(key.split("."))
    return parts[-1] in KEYS or parts[-2:] == _FROM


def _begun(text: str, folder: Path) -> str:
    """Return a path as an absolute one; a `~` that names nobody's home stays, for whoever opens it to refuse."""
    path = os.path.expanduser(text)
    if not text or "\0" in text or "://" in text or path.startswith("~") or os.path.isabs(path):
        return path
    is_pattern = any(sign in path for sign in "*?[")
    start = glob.escape(str(folder)) if is_pattern else str(folder)
    return os.path.normpath(os.path.join(start, path))
