"""Rounds in turn, and the medians and ratios of hand-made numbers."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.peers.compared import compared, table
from simulator.bench.rounds import alternate, play_apart, ratios, spread
from simulator.errors import WorkerError


def test_every_other_round_is_played_in_the_opposite_order() -> None:
    called: list[tuple[str, int]] = []

    def player(name: str) -> Any:
        def play(at: int) -> dict[str, Any]:
            called.append((name, at))
            return {"cpu_seconds": 1.0}

        return play

    said: list[str] = []
    played = alternate({"a": player("a"), "b": player("b")}, 3, said.append)
    assert called == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert {name: len(results) for name, results in played.items()} == {"a": 3, "b": 3}
    assert said[2] == "round 2 of 3: b 1.0 s CPU"


@pytest.mark.parametrize("rounds", [0, -1])
def test_no_round_is_refused(rounds: int) -> None:
    with pytest.raises(ValueError, match=f"expected at least one round, got {rounds}; ask for 5"):
        alternate({}, rounds, print)


def test_a_ratio_is_taken_within_its_round() -> None:
    assert spread([4.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 4.0}
    # 2/1, 6/2, 3/2; the ratio of the medians would be 3/2
    assert ratios([2.0, 6.0, 3.0], [1.0, 2.0, 2.0]) == {"median": 2.0, "min": 1.5, "max": 3.0}
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_a_participant_that_fails_says_why() -> None:
    with pytest.raises(
        WorkerError, match=r'expected json.tool to play \{"seed": 0\}, got its end:\n(.|\n)*No such file'
    ):
        play_apart("json.tool", {"seed": 0})


def results(*seconds: float) -> list[dict[str, Any]]:
    return [{"cpu_seconds": value, "clean_accuracy": [0.5, 0.75], "attack_success": [1.0, None]} for value in seconds]


def test_the_table_of_hand_made_seconds() -> None:
    found = compared({"ebbdoor": results(10, 20, 30), "bare-loop": results(20, 20, 40), "classic": results(40, 30, 60)})
    assert found["cpu_seconds"]["classic"] == {"median": 40, "min": 30, "max": 60}
    assert found["ratio"]["bare-loop"]["ebbdoor"] == {"median": 0.75, "min": 0.5, "max": 1.0}
    assert found["ratio"]["ebbdoor"]["classic"] == {"median": 2.0, "min": 1.5, "max": 4.0}
    assert table(found).splitlines() == [
        "           CPU s  least - most   against bare-loop   against ebbdoor",
        "ebbdoor    20.00  10.00 - 30.00  0.75 (0.50 - 1.00)  1.00 (1.00 - 1.00)",
        "bare-loop  20.00  20.00 - 40.00  1.00 (1.00 - 1.00)  1.33 (1.00 - 2.00)",
        "classic    40.00  30.00 - 60.00  1.50 (1.50 - 2.00)  2.00 (1.50 - 4.00)",
        "",
        "clean accuracy / attack success",
        "update  ebbdoor        bare-loop      classic",
        "0       0.500 / 1.000  0.500 / 1.000  0.500 / 1.000",
        "1       0.750 / –      0.750 / –      0.750 / –",
    ]


def test_without_a_base_there_is_no_ratio() -> None:
    assert compared({"classic": results(1)})["ratio"] == {}
