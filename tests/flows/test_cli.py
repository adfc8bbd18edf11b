"""The command line without a run: help, what it imports, what it lists and shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml

from flows.cli import app, main

COMMANDS = [
    "run", "simulate", "resume", "list", "show", "check", "report", "status", "reconcile", "rollback", "delete",
    "bench", "up", "down", "ui",
]  # fmt: skip


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "200")
    return


def test_the_commands_are_those_of_the_table() -> None:
    assert {command.name or command.callback.__name__ for command in app.registered_commands} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"ebbdoor {command}" in output(capsys, command, "--help") or "Usage" in output(capsys, command, "--help")


def test_help_says_what_each_exit_code_means(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(output(capsys, "--help").split())
    assert "2 a mistake in the scenario" in text
    assert "4 another process holds the run" in text
    assert "130 stopped by Ctrl-C" in text


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, flows.cli; print([n for n in ('torch', 'mlflow', 'prefect', 'pydantic') if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert output(capsys, "--version") == f"ebbdoor {version('ebbdoor')}\n"


def test_list_names_presets_and_plugins_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(output(capsys, "list", "--format", "json"))
    found = {(row["kind"], row["name"]) for row in rows}
    assert {("presets", "quickstart"), ("attacks", "patch"), ("defenses", "strip")} <= found


def test_list_of_a_kind_gives_its_options_with_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(output(capsys, "list", "schedules", "--format", "json"))
    text = next(row["options"] for row in rows if row["name"] == "slanted-triangular")
    # Howard and Ruder (ACL 2018) give cut 0.1 and ratio 32
    assert "cut=0.1" in text
    assert "ratio=32" in text


def test_list_as_a_table_puts_each_preset_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "list", "presets").splitlines()
    assert any(line.split()[:1] == ["quickstart"] for line in lines)


def test_list_of_runs_is_empty_where_nothing_was_run(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path))
    assert json.loads(output(capsys, "list", "runs", "--format", "json")) == []


def test_show_prints_a_scenario_that_can_be_run_again(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    from pathlib import Path

    shown = output(capsys, "show", "quickstart", "--set", "periods=3")
    path = Path(str(tmp_path)) / "again.yaml"
    path.write_text(shown)
    again = json.loads(output(capsys, "show", str(path), "--format", "json"))
    assert yaml.safe_load(shown) == again
    assert again["periods"] == 3
    assert again["recipe"]["update"]["schedule"] == {"use": "constant", "rate": 0.01}


def test_ui_and_down_say_that_nothing_runs(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path))
    for command in ("ui", "down"):
        with pytest.raises(SystemExit) as ended:
            main([command])
        captured = capsys.readouterr()
        assert ended.value.code == 0
        assert captured.out == ""
        assert "ebbdoor up" in captured.err
