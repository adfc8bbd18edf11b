"""What `ebbdoor bench` says it measured, on a timeline cut down to seconds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.bench import print_measured
from flows.cli import main

SMALL = [
    "periods=1",
    "source.use=digits",
    "stream={base: 150, batch: 130, validation: 40, relearning: 10, test: 60}",
    "trusted={images: 20}",
]


def benched(capsys: pytest.CaptureFixture[str], *overrides: str) -> tuple[dict[str, Any], str]:
    given = [part for text in (*SMALL, *overrides) for part in ("--set", text)]
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--no-prefect", "--format", "json", *given])
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    return json.loads(captured.out), captured.err


def test_with_overrides_the_bare_loop_is_left_out_and_idle_stages_are_named(
    workspace: object, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, told = benched(capsys)
    assert "bare_loop" not in measured
    assert measured["overrides"] == SMALL
    assert "the bare loop is left out" in told
    assert measured["idle"] == {
        "monitor": "not measured: the timeline has no monitor",
        "defend": "not measured: the timeline has no defenses",
    }
    assert sum(measured["seconds"].values()) == pytest.approx(measured["wall_seconds"])
    print_measured(measured)
    printed = capsys.readouterr().out
    assert "not measured: the timeline has no defenses" in printed
    assert "bare" not in printed
    assert [line.split()[0] for line in printed.splitlines()[-2:]] == ["0", "1"]


def test_a_stage_that_is_there_is_measured(workspace: object, capsys: pytest.CaptureFixture[str]) -> None:
    measured, _ = benched(capsys, "monitor={use: mmd, rows: 20, permutations: 19}", "defenses=[{use: scripted}]")
    assert measured["idle"] == {}
    assert measured["seconds"]["monitor"] > 0
    assert measured["seconds"]["defend"] > 0
