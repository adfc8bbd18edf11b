"""The folder of a run, and `run.json` in it: the run's name and the workspace or server of its stores."""

from __future__ import annotations

import json
import os
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import settings
from flows.runs.trust import expect_trusted
from simulator.errors import ScenarioError
from simulator.production.registry.addresses import shown_address
from simulator.production.registry.database import own_database
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
    return RunFolder(run, folder, workspace, _address())


def find_run_folder(folder_or_run: str, workspace: Path) -> RunFolder:
    """Return the folder of a run that exists, by its path or by the run's name."""
    for folder in (Path(folder_or_run), workspace / folder_or_run):
        if (folder / NOTE).is_file():
            return _read(folder.absolute())
    raise ScenarioError(
        f"expected the folder or name of a run, got '{folder_or_run}', where no {NOTE} is; runs lie in {workspace}"
    )


def place_of(folder_or_run: str, workspace: Path) -> RunFolder:
    """Return the folder of a run; of one that has none, or none that can be read, what its name says.

    So a run can be removed whose folder is gone.
    """
    notes = [folder for folder in (Path(folder_or_run), workspace / folder_or_run) if (folder / NOTE).is_file()]
    if any(map(_is_readable, notes)) or not _SAFE.fullmatch(folder_or_run) or not has_stores(workspace):
        return find_run_folder(folder_or_run, workspace)
    return RunFolder(folder_or_run, workspace / folder_or_run, workspace, _address())


def has_stores(workspace: Path) -> bool:
    """Return whether there are stores that may hold runs: a server, a database, or the workspace's own file."""
    return bool(_address() or own_database()) or (workspace / "mlflow.db").exists()


def _is_readable(folder: Path) -> bool:
    try:
        return bool(_values(folder))
    except ScenarioError:
        return False


def _address() -> str | None:
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def runs(workspace: Path) -> list[tuple[RunFolder, bool]]:
    """Return the folders of the workspace's runs, newest first, and whether each run is finished.

    One whose note cannot be read is left out: see `unreadable`.
    """
    found = []
    for note in _notes(workspace):
        with suppress(ScenarioError):
            found.append((_read(note.parent), _values(note.parent).get("finished") is True))
    return found


def unreadable(workspace: Path) -> dict[str, str]:
    """Return the names of the folders whose note cannot be read, and why, with what to do about it."""
    found = {}
    for note in _notes(workspace):
        try:
            _read(note.parent)
        except ScenarioError as error:
            found[note.parent.name] = str(error)
    return found


def _notes(workspace: Path) -> list[Path]:
    def changed(note: Path) -> float:
        try:
            return note.stat().st_mtime
        except OSError:  # a link that leads nowhere
            return 0.0

    return sorted(workspace.glob(f"*/{NOTE}"), key=changed, reverse=True)


def open_runs(workspace: Path) -> list[RunFolder]:
    """Return the folders of the workspace's runs that have periods left, newest first."""
    return [folder for folder, finished in runs(workspace) if not finished]


def noted(folder: RunFolder) -> bool:
    """Return whether the run was begun: `run.json` is there, and names this run."""
    return (folder.folder / NOTE).is_file() and _read(folder.folder).run == folder.run


def is_finished(folder: RunFolder) -> bool:
    """Return whether all periods of the run were committed when it was last played."""
    return (folder.folder / NOTE).is_file() and _values(folder.folder).get("finished") is True


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
    note = _values(folder)
    run, workspace, address = note.get("run"), note.get("workspace"), note.get("tracking_uri")
    if not (isinstance(run, str) and _SAFE.fullmatch(run) and isinstance(workspace, str)) or not (
        address is None or isinstance(address, str)
    ):
        raise _unreadable(folder, "other values")
    # The user's address now comes first: a server may have moved.
    return RunFolder(run, folder, (folder / workspace).resolve(), _address() or address)


def _values(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(folder, f"{type(error).__name__}: {error}") from error
    if not isinstance(values, dict):
        raise _unreadable(folder, type(values).__name__)
    return values


def _unreadable(folder: Path, got: str) -> ScenarioError:
    note = json.dumps({"run": folder.name, "workspace": "..", "tracking_uri": None})
    return ScenarioError(
        f"expected {folder / NOTE} to name a run and its workspace, got {got}; what is committed is kept: restore the "
        f"file, or write {note} into it, with the run's name and the path of its workspace"
    )
