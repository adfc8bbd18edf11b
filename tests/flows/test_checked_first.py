"""A mistake that can be found without a server is found before one is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.cli import main
from simulator.study.load import load_study
from simulator.study.run import checked
from tests.operate.conftest import TINY

STUDY = "name: small\nscenario: mine.yaml\nseeds: [0]\n"
#: what would be started
STARTED = ("flows.execute.prefect_api", "flows.studies.execute.prefect_api")


class Started(Exception):
    """A server would be started."""


@pytest.fixture(autouse=True)
def _servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def started(workspace: Path, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
        raise Started
        yield

    for name in STARTED:
        monkeypatch.setattr(name, started)
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(TINY)
    Path("study.yaml").write_text(STUDY)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("stream.batch=30", "expected recipe.update.batch to be at most stream.batch (30 rows), got 32"),
        ("stream.base=9000", "9000"),  # more rows than the source has, which is known once it is loaded
        ("attack.target=11", "target"),  # so is the number of classes
        ("attack.size=9", "size"),  # and that of the images
        ("recipe.network.use=no-such", "no-such"),
    ],
)
def test_a_mistake_in_a_scenario_is_told_before_a_server_is_started(
    setting: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "mine.yaml", "--processes", "0", "--set", setting])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_scenario_without_a_mistake_gets_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Started):
        main(["run", "mine.yaml", "--processes", "0"])
    assert "expected" not in capsys.readouterr().err


def test_a_study_without_a_mistake_gets_a_server() -> None:
    with pytest.raises(Started):
        main(["study", "study.yaml"])


@pytest.mark.parametrize("setting", ["scenario.stream.batch=30", "scenario.stream.base=9000", "seeds=[0, 0]"])
def test_a_mistake_in_a_study_is_told_before_a_server_is_started(
    setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["study", "study.yaml", "--set", setting])
    assert ended.value.code == 2
    assert "expected " in capsys.readouterr().err


def test_an_executor_that_is_none_is_told_before_a_server_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["study", "study.yaml", "--executor", "threads"])
    assert ended.value.code == 2
    assert "expected executor to be one of processes, work-pool, ray, cohort" in capsys.readouterr().err


def test_the_flow_does_not_check_again_what_the_command_has_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the study anew; another study or folder is checked."""
    seen: list[str] = []
    monkeypatch.setattr("simulator.study.run.check_study", lambda study, data: seen.append(study.name))
    with checked(load_study("study.yaml"), tmp_path / "a"):
        with checked(load_study("study.yaml"), tmp_path / "a"):
            assert seen == ["small"]
        with checked(load_study("study.yaml"), tmp_path / "b"):
            assert seen == ["small"] * 2
    with checked(load_study("study.yaml"), tmp_path / "a"):
        assert seen == ["small"] * 3
