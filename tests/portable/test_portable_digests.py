"""The noted digests of standard timelines: this machine gives them, and what differs is told where it differs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.cli import main
from simulator.checks.portable import compared as portable
from simulator.checks.portable.compared import Played, check_numerics, chosen, compared, noted, versions
from simulator.errors import ScenarioError
from simulator.production.training.device import has_avx2

here = pytest.mark.skipif(
    not has_avx2() or noted()["versions"] != versions(),
    reason="needs an x86-64 processor with AVX2, and the releases with which the digests were noted",
)

SETS = {"kernels": "x86-64-v3"}


def silent(text: str) -> None:
    """Say nothing."""


@here
def test_this_machine_gives_the_noted_bits_on_the_quickest_timeline() -> None:
    found = check_numerics(["digits"], silent)
    assert [row["difference"] for row in found["timelines"]] == [None]
    assert found["same"]
    assert found["other_versions"] == {}
    assert [used["kernels"] for used in found["instruction_sets"]] == ["x86-64-v3"]


@here
@pytest.mark.slow
def test_this_machine_gives_the_noted_bits_on_every_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["numerics", "--format", "json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert {row["timeline"]: row["difference"] for row in found["timelines"]} == dict.fromkeys(portable.TIMELINES)
    assert found["digests"] == noted()["digests"]
    assert ended.value.code == 0


def test_a_difference_names_line_and_period() -> None:
    expected = {"main": ["a" * 64, "b" * 64], "main.twin": ["c" * 64]}
    assert compared("t", expected, expected).same
    assert compared("t", expected, {**expected, "main": ["a" * 64, "d" * 64]}).difference == (
        "line main, period 1: expected bbbbbbbbbbbb, got dddddddddddd"
    )
    assert compared("t", expected, {"main": expected["main"]}).difference == (
        "line main.twin, period 0: expected cccccccccccc, got none"
    )
    assert compared("t", {}, {"main": ["e" * 64]}).difference == "line main, period 0: expected none, got eeeeeeeeeeee"


def test_the_command_ends_with_2_where_bits_differ_and_names_other_releases(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noting = {"versions": {**versions(), "torch": "1.0"}, "digests": {"digits": {"main": ["a" * 64]}}}
    monkeypatch.setattr(portable, "noted", lambda: noting)
    monkeypatch.setattr(portable, "play_portable", lambda name: Played({"main": ["b" * 64]}, [SETS]))
    with pytest.raises(SystemExit) as ended:
        main(["numerics", "digits"])
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert "this machine gives other bits than the noted records" in out
    assert "line main, period 0: expected aaaaaaaaaaaa, got bbbbbbbbbbbb" in out
    assert f"torch is {versions()['torch']} here and was 1.0 there" in err


def test_a_name_that_is_no_standard_timeline_is_refused() -> None:
    assert chosen([]) == list(portable.TIMELINES) == list(noted()["digests"])
    with pytest.raises(ScenarioError, match=r"expected a standard timeline \(digits, .*\), got 'digit'; correct it"):
        chosen(["digit"])
