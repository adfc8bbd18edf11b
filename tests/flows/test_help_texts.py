"""Help is printed whole, the shell completes names, and a seed has an option of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from typer.main import get_command

from flows.cli import app, main
from flows.commands import completion

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]


def texts() -> Iterator[tuple[str, str]]:
    """Every text of help that is read as markup: what it belongs to, and the text."""
    for name, command in COMMANDS.items():
        yield name, command.help or ""
        for parameter in command.params:
            yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
    yield "ebbdoor", str(app.info.epilog)


@pytest.mark.parametrize(("where", "text"), list(texts()), ids=[where for where, _ in texts()])
def test_no_help_text_loses_words_to_markup(where: str, text: str) -> None:
    assert Text.from_markup(text).plain == text.replace("\\[", "[")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name: str) -> None:
    silent = [parameter.name for parameter in COMMANDS[name].params if not getattr(parameter, "help", None)]
    assert silent == []


@pytest.mark.parametrize(
    ("command", "default"),
    [
        ("rollback", "the one that served before"),
        ("run", "one an arm"),
        ("study", "the study's, else by cores"),
        ("calibrate", "as many as the rate needs"),
        ("list", "all but runs"),
    ],
)
def test_a_default_that_is_worked_out_is_told(
    command: str, default: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"[default: ({default})]" in capsys.readouterr().out


def test_a_seed_given_as_an_option_wins(workspace: Path, capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tiny), "--set", "seed=1", "--seed", "2", "--set", "stream.batch=1", "--processes", "0"])
    assert ended.value.code == 2  # the batch is too small; the run was named before
    capsys.readouterr()
    assert [path.name.partition("-s")[2][:2] for path in (workspace / ".names").iterdir()] == ["2-"]


def offered(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What bash is told at the tab key after `words`."""
    monkeypatch.setenv("_EBBDOOR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit) as ended:
        app(prog_name="ebbdoor")
    assert ended.value.code == 0
    return capsys.readouterr().out.split()


def test_the_shell_completes_names(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text("name: mine\n")
    Path("miner.txt").write_text("")
    (workspace / "my-run").mkdir(parents=True)
    note = {"run": "my-run", "workspace": "..", "tracking_uri": None}
    (workspace / "my-run" / "run.json").write_text(json.dumps(note))
    for words, names in [
        ("ebbdoor show qu", ["quickstart"]),
        ("ebbdoor run mi", ["mine.yaml"]),
        ("ebbdoor list att", ["attacks"]),
        ("ebbdoor study rat", ["rates"]),
        ("ebbdoor report my", ["my-run"]),
        ("ebbdoor rollback my", ["my-run"]),
        ("ebbdoor calibrate str", ["strip", "strip-filter"]),
        ("ebbdoor rol", ["rollback"]),
    ]:
        assert offered(words, monkeypatch, capsys) == names, words


def test_a_folder_that_cannot_be_read_offers_nothing(workspace: Path) -> None:
    assert completion.scenarios("none/at/all") == []
    assert completion.runs("") == []
