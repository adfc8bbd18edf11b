"""A filter's second look replaces its first verdict, and nothing else of its first look: no request, and no cost."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import SMALL, Opened

WHERE = "tests.timeline.looking_twice"
AGAIN = {"use": f"{WHERE}:Again"}
KEYS: dict[str, Any] = {
    "periods": 3,
    "in_process": True,
    "twins": [],
    "stream": SMALL["stream"] | {"base": 60},
    "recipe": {
        "base": {"epochs": 1, "batch": 32}, "update": {"epochs": 1, "batch": 32}, "replay": {"share": 1.0},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def run() -> Opened:
    once = {"use": f"{WHERE}:AskOnce", "may": ["purge", "hold"]}
    opened = Opened(**KEYS | {"defenses": [once, AGAIN, {"use": f"{WHERE}:FirstOnly"}]})
    opened.play()
    return opened


def test_what_was_asked_for_at_the_first_look_is_recorded_granted_and_done(run: Opened) -> None:
    records = run.records()
    once = records[2].outcomes[0]
    assert [(one.kind, one.granted) for one in once.requests] == [("purge", True), ("purge", True), ("hold", True)]
    assert (records[2].judgement.action, records[2].version) == ("rejected", 1)
    assert "wait" in records[2].judgement.why
    platform = records[2].state["platform"]
    assert [period for period, _ in platform["purged"]] == [1]
    dropped = dict(platform["dropped"])
    assert set(range(4)) <= set(dropped[2])  # the rows of this period come first in its window
    assert records[3].training["replayed"] == 60  # all of period 0 or 2: those of period 1 are gone


def test_purged_rows_are_not_trained_on_after_the_second_look_either(run: Opened) -> None:
    """Of 120 rows four are purged, 60 replayed ones of period 1 among 120 are too, and three are dropped."""
    record = run.records()[2]
    assert record.training["rows"] + record.training["dropped"] == 120
    assert record.training["dropped"] >= 4


def test_the_cost_is_that_of_both_looks(run: Opened) -> None:
    costs = [record.outcomes[0].cost for record in run.records()]
    assert [cost["samples"] for cost in costs] == [10, 20, 20, 20]  # in period 0 there is one look
    assert [cost["trusted_images"] for cost in costs] == [40] * 4


def test_where_the_second_look_does_not_apply_the_first_verdict_stands(run: Opened) -> None:
    first, second = (run.records()[period] for period in (0, 1))
    assert [first.outcomes[2].status, second.outcomes[2].status] == ["skipped", "changed"]
    assert second.outcomes[2].evidence["features_of"] == "champion"
    assert second.outcomes[1].evidence["features_of"] == "candidate"
    assert second.training["dropped"] == 3


def test_a_training_that_is_repeated_keeps_what_it_asked_for() -> None:
    asks = {1: [{"kind": "retrain", "recipe": {"epochs": 2}}]}
    trains = {"use": "scripted", "surface": "training", "asks": asks, "may": ["retrain"]}
    opened = Opened(**KEYS | {"periods": 1, "defenses": [AGAIN, {"use": f"{WHERE}:FirstOnly"}, trains]})
    opened.play()
    record = opened.records()[1]
    (outcome,) = (one for one in record.outcomes if one.surface == "training")
    assert len(outcome.requests) == 2
    assert outcome.cost["samples"] > record.training["samples"]
