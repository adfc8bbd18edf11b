"""Which folder is the workspace, and what leads a shell to its servers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from flows.servers.shell import shell_file, write_shell_file
from flows.servers.start import _project_file
from flows.settings import default_workspace, use_workspace
from simulator.errors import ScenarioError
from simulator.production.defending import runner
from simulator.world.sources import unpacked
from simulator.world.sources.npz import Npz


@pytest.fixture(autouse=True)
def _unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EBBDOOR_WORKSPACE", raising=False)


@pytest.mark.parametrize("mark", [".git", "pyproject.toml"])
def test_the_workspace_is_that_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    inner = tmp_path / "examples" / "defenses"
    inner.mkdir(parents=True)
    (tmp_path / mark).mkdir()
    monkeypatch.chdir(inner)
    assert default_workspace() == tmp_path / "ebbdoor-runs"
    (inner / "ebbdoor-runs").mkdir()
    assert default_workspace() == inner / "ebbdoor-runs"
    monkeypatch.setenv("EBBDOOR_WORKSPACE", "mine")
    assert default_workspace() == inner / "mine"


def test_data_lie_in_the_workspace_of_the_commands_and_defenses_do_not_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "examples"
    inner.mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(inner)
    monkeypatch.setattr(unpacked, "SMALL", 0)
    np.savez("a.npz", images=np.zeros((20, 8, 8), np.uint8), labels=np.arange(20) % 2)
    Npz(path="a.npz").load()
    assert len(list((tmp_path / "ebbdoor-runs" / "cache" / "data").iterdir())) == 2
    assert not (inner / "ebbdoor-runs").exists()
    assert use_workspace() == tmp_path / "ebbdoor-runs"
    assert str(tmp_path / "ebbdoor-runs") in runner._hidden()


def test_outside_a_project_the_workspace_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ebbdoor-runs").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert default_workspace() == tmp_path / "here" / "ebbdoor-runs"


def test_a_path_that_an_address_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path / "what?"))
    with pytest.raises(ScenarioError, match=r"expected the workspace's path to hold no '\?', got "):
        use_workspace()


def test_the_shell_file_leads_to_the_servers(tmp_path: Path) -> None:
    path = shell_file(tmp_path / "a b'c")
    write_shell_file(path, {"PREFECT_API_URL": "http://127.0.0.1:4200/api"})
    done = subprocess.run(
        ["sh", "-c", '. "$0"; echo $PREFECT_API_URL; command -v ebbdoor', str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    address, program = done.stdout.splitlines()
    assert address == "http://127.0.0.1:4200/api"
    assert Path(program).name == "ebbdoor"


def test_deployments_are_those_installed_unless_the_folder_has_ebbdoors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prefect.yaml").write_text("name: my-own-project\n")
    assert _project_file().parent.name == "flows"
    assert _project_file().read_text("utf-8").count("entrypoint: flows.") == 8
    (tmp_path / "prefect.yaml").write_text("name: ebbdoor\n")
    assert _project_file() == tmp_path / "prefect.yaml"
