"""Commands that messages advise, executed as printed after what makes ebbdoor print them."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from flows.cli import main

Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """A function that calls `ebbdoor` with a command's words, expects an exit code, and returns what it printed."""
    monkeypatch.setattr(logging, "raiseExceptions", False)  # a second call in one process: a handler's stream is gone

    def call(command: str, code: int = 0) -> str:
        program, *words = shlex.split(command)
        assert program == "ebbdoor"
        with pytest.raises(SystemExit) as exited:
            main(words)
        out, err = capsys.readouterr()
        assert (exited.value.code or 0) == code, out + err
        assert "Traceback" not in out + err
        return out + err

    return call


def advised(text: str, *words: str) -> str:
    """The one command in a message that holds all `words`."""
    found = {one for one in re.findall(r"`(ebbdoor [^`]*)`", text) if set(words) <= set(shlex.split(one))}
    assert len(found) == 1, text
    return found.pop()


def state(said: Said, run: str) -> dict[str, str]:
    printed = said("ebbdoor status --format json")
    return next(row for row in json.loads(printed[printed.index("[") :]) if row["run"] == run)


def test_status_after_a_kill_advises_reconcile(kept: Any, said: Said) -> None:
    kept.kill_in_period_one()
    said(advised(state(said, "part")["waits for"], "reconcile"))
    assert state(said, "part")["waits for"] == "`ebbdoor resume runs/part`"


def test_status_and_reconcile_advise_to_restore_what_was_moved_by_hand(kept: Any, said: Said) -> None:
    name = "ebbdoor.whole.main"
    before = state(said, "whole")
    kept.client.set_registered_model_alias(name, "champion", "1")
    printed = said("ebbdoor reconcile --format json")
    said(advised(printed, "--restore"))
    assert state(said, "whole") == before


def test_a_deleted_alias_advises_two_ways_out_and_both_work(kept: Any, said: Said) -> None:
    name = "ebbdoor.whole.main"
    for words, serving in ((("reconcile", "--restore"), 1), (("rollback", "--to"), 0)):
        kept.client.delete_registered_model_alias(name, "champion")
        said(advised(state(said, "whole")["waits for"], *words))
        assert kept.aliases("whole")["champion"] == serving


def test_a_run_that_another_host_held_is_freed_as_the_refusal_says(kept: Any, said: Said, elsewhere: Any) -> None:
    kept.hold("whole", elsewhere)
    refusal = said("ebbdoor rollback whole --reason x", 4)
    said(advised(refusal, "reconcile"))
    said("ebbdoor rollback whole --reason x")


def test_reconcile_itself_says_how_to_take_over(kept: Any, said: Said, elsewhere: Any) -> None:
    kept.kill_in_period_one(elsewhere)
    printed = said("ebbdoor reconcile --format json")
    said(advised(printed, "--take-over"))
    assert state(said, "part")["waits for"] == "`ebbdoor resume runs/part`"


def test_a_run_that_was_removed_for_good_is_deleted_as_advised(kept: Any, said: Said) -> None:
    from mlflow.entities import ViewType

    query = "tags.run = 'part' AND attributes.run_name = 'part'"
    (parent,) = kept.client.search_runs([kept.experiment()], query, ViewType.ALL)
    for key in ("run", "head"):
        kept.client.delete_tag(parent.info.run_id, key)
    refusal = said("ebbdoor report part", 3)
    said(advised(refusal, "delete"))
    assert kept.words("part") == {}
    assert not any("part" in name for name in kept.models())
    assert kept.words("whole")


def test_an_export_that_was_edited_is_written_anew_as_advised(kept: Any, said: Said) -> None:
    export = kept.workspace / "whole" / "periods.jsonl"
    before = export.read_bytes()
    export.write_bytes(before.replace(b"0", b"9", 1))
    refusal = said("ebbdoor compare runs/whole", 3)
    said(advised(refusal, "report"))
    assert export.read_bytes() == before
    said("ebbdoor compare runs/whole")


@pytest.mark.slow
def test_lists_are_shown_as_a_misspelt_name_advises(kept: Any, said: Said) -> None:
    said(advised(said("ebbdoor check zzzzzzzzzz", 2), "list"))
    said(advised(said("ebbdoor run quickstart --set 'monitor={use: zzzzzzzz}'", 2), "list"))


def test_no_servers_to_stop_or_to_show(kept: Any, said: Said) -> None:
    for command in ("down", "ui"):
        assert advised(said(f"ebbdoor {command}")) == "ebbdoor up"


def test_a_run_opened_live_is_gone_on_with_as_advised(kept: Any, said: Said) -> None:
    """Opened at once and asked for live: the refusal names the folder; `resume` itself is played in the slow suite."""
    refusal = said("ebbdoor run tiny.yaml --live --no-prefect --out runs/part --set periods=1", 2)
    assert advised(refusal, "resume") == "ebbdoor resume runs/part"
