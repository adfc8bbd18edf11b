"""The command line without a run: help, what it imports, what it lists and shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.cli import app, main
from simulator.scenario.catalog import KINDS, names, options, resolve
from simulator.scenario.units import UNITS

COMMANDS = [
    "run", "simulate", "resume", "list", "show", "init", "check", "report", "view", "status", "reconcile", "rollback",
    "delete", "bench", "numerics", "cache", "calibrate", "compare", "power", "study", "audit", "up", "down", "ui",
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
    usage, about = [line.strip() for line in output(capsys, command, "--help").splitlines() if line.strip()][:2]
    assert usage.startswith("Usage: ")
    assert f" {command} [OPTIONS]" in usage  # before it the program's name, which is pytest's here
    assert about[0].isupper()


def test_help_says_what_each_exit_code_means(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(output(capsys, "--help").split())
    assert "2 a mistake in the scenario" in text
    assert "4 another process holds the run" in text
    assert "6 done, but training diverged in some arm" in text
    assert "130 stopped by Ctrl-C" in text


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


def test_list_of_attacks_gives_name_threat_model_and_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads(output(capsys, "list", "attacks", "--format", "json"))}
    assert rows["none"]["threat_model"] == "none"
    patch = rows["patch"]
    assert patch["threat_model"] == "poisons-data"
    assert patch["about"].startswith("BadNets: a square")
    size = patch["parameters"]["size"]
    assert {key: size[key] for key in ("type", "default", "unit", "range")} == {
        "type": "int", "default": 3, "unit": "pixels", "range": "at least 1",
    }  # fmt: skip
    assert "a square of `size` x `size` pixels" in size["what"]
    assert patch["parameters"]["pattern"]["default"] == "white"
    assert "checkerboard" in patch["parameters"]["pattern"]["type"]
    lines = [line.split() for line in output(capsys, "list", "attacks").splitlines()]
    at = lines.index(["patch", "(poisons-data)"])
    assert lines[at + 1][:3] == ["BadNets:", "a", "square"]
    assert lines[at + 2] == [patch["where"]]
    assert lines[at + 3] == ["parameter", "default", "values"]
    assert ["size", "3", "pixels,", "at", "least", "1"] in lines[at:]


def test_list_of_defenses_gives_their_surface(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads(output(capsys, "list", "defenses", "--format", "json"))}
    assert {name: rows[name]["surface"] for name in ("strip", "anp", "abl", "spectre", "ted", "scripted")} == {
        "strip": "screen", "anp": "repair", "abl": "training", "spectre": "filter", "ted": "screen", "scripted": "any",
    }  # fmt: skip
    assert rows["strip"]["parameters"]["false_positive_rate"]["unit"] == "rate of false alarms, a share of 1"


def test_every_number_that_a_plugin_takes_has_a_unit_and_no_unit_is_left_over() -> None:
    used, without = set(), []
    for kind in KINDS:
        for name in names(kind):
            for option, (hint, _) in options(resolve(kind, name)).items():
                keys = [key for key in (f"{kind}.{name}.{option}", f"{kind}.{option}") if key in UNITS]
                used |= set(keys[:1])
                number = any(word in str(hint) for word in ("int", "float"))
                without += [f"{kind} {name} {option}"] if number and not keys else []
    assert without == []
    assert used == UNITS.keys()


def test_a_parameter_without_a_default_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads(output(capsys, "list", "campaigns", "--format", "json"))}
    (rates,) = rows["scripted"]["parameters"].values()
    assert rates["type"] == "dict[int, float]"
    assert "default" not in rates


def test_list_as_a_table_puts_each_preset_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "list", "presets").splitlines()
    assert any(line.split()[:1] == ["quickstart"] for line in lines)


def test_list_of_runs_is_empty_where_nothing_was_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path))
    assert json.loads(output(capsys, "list", "runs", "--format", "json")) == []
    assert list(tmp_path.iterdir()) == []  # no store is made by looking into it


def test_show_prints_a_scenario_that_can_be_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "show", "quickstart", "--set", "periods=3")
    path = tmp_path / "again.yaml"
    path.write_text(shown)
    again = json.loads(output(capsys, "show", str(path), "--format", "json"))
    assert yaml.safe_load(shown) == again
    assert again["periods"] == 3
    assert again["recipe"]["update"]["schedule"] == {"use": "constant", "rate": 0.01}


@pytest.mark.parametrize(("ending", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")], ids=["png", "svg"])
def test_show_draws_the_triggers(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, start: bytes) -> None:
    picture = tmp_path / f"trigger{ending}"
    with pytest.raises(SystemExit) as ended:
        main(["show", "digits", "--trigger", str(picture)])
    captured = capsys.readouterr()
    assert ended.value.code == 0
    assert picture.read_bytes().startswith(start)
    assert yaml.safe_load(captured.out)["name"] == "digits"
    assert f"wrote {picture}" in captured.err


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("trigger.jpg", [], "expected --trigger to name a .png or .svg file, got"),
        ("absent/trigger.png", [], "expected --trigger to lie in a folder, got none for"),
        (
            "trigger.png",
            ["attack={use: none}", "campaign={use: none}"],
            "to have an attack whose trigger can be drawn, got none",
        ),
    ],
)
def test_show_says_why_no_trigger_can_be_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, changes: list[str], sentence: str
) -> None:
    overrides = [word for change in changes for word in ("--set", change)]
    with pytest.raises(SystemExit) as ended:
        main(["show", "digits", "--trigger", str(tmp_path / name), *overrides])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.out == ""
    assert sentence in captured.err
    assert list(tmp_path.iterdir()) == []


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
