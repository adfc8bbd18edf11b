"""The folder of a run, and `run.json` in it: the run's name and the workspace or server of its stores."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flows import settings
from flows.runs.trust import expect_trusted
from simulator.errors import ScenarioError
from simulator.production.registry.addresses import shown_address
from simulator.system.files import write_json

if TYPE_CHECKING:
    from simulator.production.registry.base import Ledger, Registry

#: the file in a run's folder that says which run it is
NOTE = "run.json"
_SAFE = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's name, the folder of its exports, the workspace of its stores, and its MLflow (None: the workspace's)."""

    run: str
    folder: Path
    workspace: Path
    tracking_uri: str | None = None

    def open_stores(self) -> tuple[Registry, Ledger]:
        """Return registry and ledger of the run. Imports mlflow (2 to 8 s); `StoreError` when they cannot be opened.

        `ScenarioError` when only `run.json` names their server: see `flows.runs.trust`.
        """
        from simulator.production.registry.open import open_stores

        if self.tracking_uri is not None:
            expect_trusted(self.tracking_uri, self.run)
        return open_stores(tracking_uri=self.tracking_uri, workspace=self.workspace)


def run_folder_of(run: str, out: Path | None, workspace: Path) -> RunFolder:
    """Return the folder of a run, new or existing; refuse an unsafe name and a folder that holds something else."""
    if not _SAFE.fullmatch(run):
        raise ScenarioError(f"expected a run's name to be small letters, digits and '-', got '{run}'; choose another")
    folder = (out or workspace / run).absolute()
    if (folder / NOTE).exists():
        found = _read(folder)
        if found.run != run:
            raise ScenarioError(
                f"expected {folder} to be free, got run '{found.run}' in it; choose another --out, "
                f"or go on with `ebbdoor resume {typed(folder)}`"
            )
        return found
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ScenarioError(f"expected {folder} to be new or empty, got something in it; choose another --out")
    return RunFolder(run, folder, workspace, os.environ.get("MLFLOW_TRACKING_URI") or None)


def find_run_folder(folder_or_run: str, workspace: Path) -> RunFolder:
    """Return the folder of a run that exists, by its path or by the run's name."""
    for folder in (Path(folder_or_run), workspace / folder_or_run):
        if (folder / NOTE).is_file():
            return _read(folder.absolute())
    raise ScenarioError(
        f"expected the folder or name of a run, got '{folder_or_run}', where no {NOTE} is; runs lie in {workspace}"
    )


def runs(workspace: Path) -> list[tuple[RunFolder, bool]]:
    """Return the folders of the workspace's runs, newest first, and whether each run is finished."""
    notes = sorted(workspace.glob(f"*/{NOTE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [(_read(note.parent), bool(json.loads(note.read_text("utf-8")).get("finished"))) for note in notes]


def open_runs(workspace: Path) -> list[RunFolder]:
    """Return the folders of the workspace's runs that have periods left, newest first."""
    return [folder for folder, finished in runs(workspace) if not finished]


def noted(folder: RunFolder) -> bool:
    """Return whether the run was begun: `run.json` is there, and names this run."""
    return (folder.folder / NOTE).is_file() and _read(folder.folder).run == folder.run


def noted_at(folder: RunFolder) -> datetime:
    """Return when the run was last begun or resumed, UTC."""
    return datetime.fromtimestamp((folder.folder / NOTE).stat().st_mtime, UTC)


def shown(path: Path) -> str:
    """Return a path as one would type it here: relative when it lies below the working directory."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def typed(path: Path) -> str:
    """Return a path as one would type it here in a shell: `shown`, quoted where it must be."""
    return shlex.quote(shown(path))


def write_note(folder: RunFolder, *, finished: bool) -> None:
    """Make the run's folder, and write `run.json` into it; `ScenarioError` where another run has taken it meanwhile."""
    if (folder.folder / NOTE).exists() and (found := _read(folder.folder)).run != folder.run:
        raise ScenarioError(
            f"expected {folder.folder} to be free, got run '{found.run}' in it, begun meanwhile; choose another --out"
        )
    # A server over the workspace's own stores may be gone tomorrow; the stores are not.
    own = folder.tracking_uri is None or settings.is_own(folder.tracking_uri, folder.workspace)
    note = {
        "run": folder.run,
        "workspace": os.path.relpath(folder.workspace, folder.folder),
        "tracking_uri": None if folder.tracking_uri is None or own else shown_address(folder.tracking_uri),
        "finished": finished,
    }
    write_json(folder.folder / NOTE, note)


def _read(folder: Path) -> RunFolder:
    try:
        note = json.loads((folder / NOTE).read_text("utf-8"))
        workspace = (folder / note["workspace"]).resolve()
        # The user's address now comes first: a server may have moved.
        return RunFolder(note["run"], folder, workspace, os.environ.get("MLFLOW_TRACKING_URI") or note["tracking_uri"])
    except (ValueError, KeyError, TypeError) as error:
        raise ScenarioError(f"expected {folder / NOTE} to name a run, got {error!r}; put the file back") from error
