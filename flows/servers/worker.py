"""A Prefect worker of ours: `python -m flows.servers.worker FOLDER ARGUMENT...` is `prefect worker start ARGUMENT...`.

A worker keeps what it downloads for flow runs in a folder of its own, which stays when the worker is ended by a signal,
as `ebbdoor down` ends it. Here it lies in FOLDER, which is removed with the servers, and not among everybody's
temporary files. Flow runs keep their own: only this process is told of FOLDER, for defenses of theirs cannot reach the
workspace.
"""

from __future__ import annotations

import runpy
import shutil
import sys
import tempfile
from pathlib import Path


def storage_of(workspace: Path) -> Path:
    """Return where the workers of a workspace keep their temporary files."""
    return workspace / "prefect" / "workers"


def keep_temporary_files_in(folder: Path) -> None:
    """Have this process, and none that it starts, make temporary files and folders in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(folder)


def remove_storage(workspace: Path) -> None:
    """Remove what workers left. Call it when none of the workspace's workers is alive."""
    shutil.rmtree(storage_of(workspace), ignore_errors=True)


if __name__ == "__main__":
    keep_temporary_files_in(Path(sys.argv[1]))
    sys.argv = ["prefect", "worker", "start", *sys.argv[2:]]
    runpy.run_module("prefect", run_name="__main__")
