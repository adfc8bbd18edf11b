"""The models that `docs/defenses.md` logs for an audit: its programs run as they stand, and its commands audit them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "defenses.md").read_text("utf-8")
SECTION = PAGE.partition("### Logging a model that can be audited")[2].partition("\n## ")[0]


@pytest.mark.slow  # starts processes that import MLflow and torch
def test_every_documented_model_is_logged_and_audited_as_the_page_says(
    workspace: Path, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    monkeypatch.chdir(folder)
    known, network, served, own, pickled = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    Path("own_network.py").write_text(network)
    Path("served.py").write_text(served)
    experiment = client.create_experiment("theirs", (tmp_path / "mlruns").as_uri())
    environment = {
        **os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{workspace / 'mlflow.db'}", "MLFLOW_EXPERIMENT_ID": experiment,
    }  # fmt: skip
    for program in (known, own, pickled):
        Path("program.py").write_text(program)
        done = subprocess.run(
            [sys.executable, "program.py"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(workspace))
    (commands,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
    verdicts = []
    for command in commands.splitlines():
        with pytest.raises(SystemExit) as ended:
            main([*shlex.split(command)[1:], "--format", "json"])
        told = capsys.readouterr()
        assert ended.value.code == 0, told.err
        verdicts += [one["verdict"] for one in json.loads(told.out)]
    assert len(verdicts) == 3
    assert set(verdicts) <= {"passed", "changed"}, verdicts
