"""What the platform remembers from one period to the next, seen in the records alone."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.loop.actions import roll_back

from .conftest import SMALL, Opened

RECIPE = SMALL["recipe"]
STREAM = SMALL["stream"]
LENIENT = {"use": "accuracy", "tolerance": 1.0}


def played(**keys: Any) -> Opened:
    """Play a process a period: what is remembered must also be kept in the ledger."""
    opened = Opened(**{"twins": [], "in_process": True} | keys)
    for period in range(opened.scenario.periods + 1):
        opened.play(until=period)
    return opened


def inspector(*periods: int) -> dict[str, Any]:
    """An inspector that flags whatever it is shown in `periods`."""
    return {"use": "scripted", "surface": "inspector", "script": dict.fromkeys(periods, "flag")}


def test_rows_that_a_filter_dropped_are_not_replayed() -> None:
    # The filter drops 240 of the base's 300 rows. A share of 1 asks for as many replayed rows as there are new ones,
    # 100 an update: only 60 are left of the base for the first, and 60 + 100 for the second.
    drops = {"use": "scripted", "surface": "filter", "script": {0: "flag"}, "share": 0.8}
    stream = STREAM | {"batch": 100}
    opened = played(periods=2, stream=stream, recipe=RECIPE | {"replay": {"share": 1.0}}, defenses=[drops])
    trained = [record.training for record in opened.records()]
    assert [training["dropped"] for training in trained] == [240, 0, 0]
    assert [training["replayed"] for training in trained] == [0, 60, 100]
    assert [training["rows"] for training in trained] == [60, 160, 200]


def test_a_replayed_row_that_a_filter_drops_may_be_replayed_again() -> None:
    drops = {"use": "scripted", "surface": "filter", "script": {1: "flag"}, "share": 0.5}
    records = played(periods=1, recipe=RECIPE | {"replay": {"share": 1.0}}, defenses=[drops]).records()
    # half of 60 new and 60 replayed rows: what is kept in mind are the new ones alone, of period 1
    ((period, rows),) = records[1].state["platform"]["dropped"]
    assert (records[1].training["dropped"], records[1].training["rows"]) == (60, 60)
    assert period == 1
    assert len(rows) == records[1].training["replayed"]  # of 60 dropped, all but the replayed ones that are missing


def test_without_a_filter_as_many_rows_are_replayed_as_asked_for() -> None:
    stream = STREAM | {"batch": 100}
    opened = played(periods=1, stream=stream, recipe=RECIPE | {"replay": {"share": 1.0}})
    assert [record.training["replayed"] for record in opened.records()] == [0, 100]


@pytest.mark.parametrize(
    ("flagged", "actions", "serving"),
    [
        pytest.param([2], ["promoted", "promoted", "rolled back"], [0, 1, 0], id="to the first version"),
        # whatever the verdict, version 0 serves first; nothing else is left to go back to
        pytest.param([0, 2], ["promoted", "promoted", "rejected"], [0, 1, 1], id="not to a flagged version"),
        pytest.param([0, 3], ["promoted"] * 3 + ["rolled back"], [0, 1, 2, 1], id="to the nearest version"),
    ],
)
def test_a_flagged_champion_is_rolled_back_to_a_version_that_was_never_flagged(
    flagged: list[int], actions: list[str], serving: list[int]
) -> None:
    records = played(periods=len(serving) - 1, gate=LENIENT, defenses=[inspector(*flagged)]).records()
    assert [record.judgement.action for record in records] == actions
    assert [record.version for record in records] == serving


@pytest.mark.parametrize(
    ("reference", "rows", "far"),
    [
        pytest.param("fixed", [60, 60, 60, 60], [False, True, True, True], id="fixed"),
        # the update of period 2 has seen the first step, so that from then on only the second, of period 4, is news
        pytest.param("promotion", [60, 60, 40, 40], [False, True, False, True], id="promotion"),
    ],
)
def test_a_monitor_compares_with_what_its_reference_says(reference: str, rows: list[int], far: list[bool]) -> None:
    """The reference are the 60 validation images of period 0, or the 40 trusted images of the last promotion."""
    steps = [{"use": "brightness", "amount": 0.25, "pattern": "sudden", "at": period} for period in (2, 4)]
    monitor = {"use": "mmd", "on": "pixels", "rows": 60, "permutations": 39, "reference": reference}
    opened = played(periods=4, drift=steps, monitor=monitor, policy={"use": "scripted", "periods": [2]})
    signals = [record.signal for record in opened.records()[1:]]
    assert [signal.detail["rows"][0] for signal in signals] == rows
    # a step moves MMD² by 0.2 or more; 40 images that are not drifted apart give less than 0.05
    assert [signal.score is not None and signal.score > 0.1 for signal in signals] == far


def test_a_policy_is_told_of_every_earlier_period_but_the_base_training() -> None:
    # Alarms in periods 1 to 4: the second in a row retrains, the period after it is left out, and so again. The base
    # training of period 0 starts no such pause. Period 8 is the fourth since the update of period 4.
    policy = {"use": "on-alarm", "patience": 2, "cooldown": 1, "at_most": 4}
    records = played(periods=8, policy=policy, monitor={"use": "scripted", "alarms": [1, 2, 3, 4]}).records()
    assert [record.decision.why for record in records[1:]] == [
        "1 of 2 alarms",
        "2 alarms in a row",
        "cooling down, period 1 of 1",
        "2 alarms in a row",
        "cooling down, period 1 of 1",
        "no alarm",
        "no alarm",
        "no update for 4 periods",
    ]
    assert [record.candidate for record in records] == [0, None, 1, None, 2, None, None, None, 3]


@pytest.mark.parametrize("by", ["nobody", "gate", "operator"])
def test_a_roll_back_makes_its_period_the_reference_of_the_monitor(by: str) -> None:
    """Version 1 is promoted in period 1. In period 2 the images change for good, and version 0 serves again or not."""
    step = {"use": "brightness", "amount": 0.25, "pattern": "sudden", "at": 2}
    monitor = {"use": "mmd", "on": "pixels", "rows": 60, "permutations": 39, "reference": "promotion"}
    gate = {"use": "scripted", "roll_back": [2] if by == "gate" else []}
    opened = Opened(
        periods=3, twins=[], drift=[step], monitor=monitor, gate=gate, policy={"use": "scripted", "periods": [1]}
    )
    opened.play(until=2)
    if by == "operator":
        roll_back(opened.head, opened.registry, opened.ledger, "main", 0, "slow")
    opened.play()
    records = opened.records()
    assert records[3].version == (1 if by == "nobody" else 0)
    far = [record.signal.score is not None and record.signal.score > 0.1 for record in records]
    assert far == [False, False, True, by == "nobody"]


def test_what_is_kept_beside_a_record_is_of_its_own_period() -> None:
    opened = Opened(periods=1, twins=[], policy={"use": "never"})
    first, second = (entry.metadata for entry in opened.play()["main"])
    always = {"ingest", "monitor", "decide", "gate", "probe", "commit"}
    assert (set(first["timing"]), set(second["timing"])) == (always | {"train", "register"}, always)
    assert (first["ids"], second["ids"]) == ({"memory": "run/main/0"}, {})


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"gate": {"use": "scripted", "reject": [1]}}, id="rejected"),
        pytest.param({"shadow": {"periods": 1}}, id="held in shadow"),
    ],
)
def test_a_poisoned_candidate_that_does_not_serve_makes_no_clean_champion_the_poisoned_ancestor(
    keys: dict[str, Any],
) -> None:
    # Version 1 is trained on poison in period 1 and does not serve then. In period 2 a poisoned version serves, and
    # has no distance from itself; the update of a later period has one.
    opened = played(periods=4, campaign={"use": "persistent", "start": 1, "rate": 0.2}, **keys)
    records = opened.records()
    assert [record.version for record in records[:2]] == [0, 0]
    assert records[2].judgement.action == "promoted"
    found = [record.readings["weights/distance_to_ancestor"].value for record in records]
    assert found[:3] == [None, None, 0.0]
    assert found[4] is not None
    assert found[4] > 0
