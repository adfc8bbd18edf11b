"""Where studies lie in a workspace, and how Prefect is told which study a flow run plays."""

from __future__ import annotations

from pathlib import Path

__all__ = ["STAMPED", "cache_of", "folder_of", "stamped"]

#: before a study's name where a run's name is expected; no run's name has a colon
STAMPED = "study:"


def folder_of(study: str, out: str | Path | None, workspace: Path) -> Path:
    """Return the folder of a study: `out`, or `studies/NAME` in the workspace."""
    return Path(out).absolute() if out else workspace / "studies" / study


def cache_of(workspace: Path) -> Path:
    """Return the folder of remembered trainings and readings, which all studies of the workspace share."""
    return workspace / "cache"


def stamped(study: str) -> str:
    """Return what a flow run notes as its run: it is no run of a store, but a study in its folder."""
    return f"{STAMPED}{study}"
