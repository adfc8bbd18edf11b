"""The MLflow commands that a refusal prints, executed as printed in another folder, and then all goes on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.operate.status import run_status
from simulator.errors import StoreError


def _experiment_deleted(kept: Any) -> None:
    kept.client.delete_experiment(kept.experiment())


def _experiment_renamed(kept: Any) -> None:
    kept.client.rename_experiment(kept.experiment(), "my experiment")


def _renamed_and_deleted(kept: Any) -> None:
    number = kept.experiment()
    kept.client.rename_experiment(number, "my experiment")
    kept.client.delete_experiment(number)


def _run_deleted(kept: Any) -> None:
    (twin,) = kept.client.search_runs([kept.experiment()], "tags.run = 'whole' AND tags.line = 'main.twin'")
    kept.client.delete_run(twin.info.run_id)


@pytest.mark.slow
@pytest.mark.parametrize("click", [_experiment_deleted, _experiment_renamed, _renamed_and_deleted, _run_deleted])
def test_the_printed_commands_work_as_printed(kept: Any, click: Any, tmp_path: Path) -> None:
    before = run_status(kept.workspace)
    click(kept)
    try:
        said = next(row["waits for"] for row in run_status(kept.workspace) if row["run"] == "whole")
    except StoreError as error:
        said = str(error)
    commands = re.findall(r"`(MLFLOW_TRACKING_URI=[^`]* mlflow [^`]*)`", said)
    assert commands
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)
    assert run_status(kept.workspace) == before
