"""Shadow mode: a challenger predicts beside the champion for k periods before it may serve."""

from __future__ import annotations

import pytest

from .conftest import Opened, Played, Stop, dies_after, digests

#: two challengers: 1 comes out of its shadow in period 3 and serves, 2 in period 6 and is rejected
KEYS = {"periods": 6, "shadow": {"periods": 2}, "gate": {"use": "scripted", "reject": [6]}}


@pytest.fixture(scope="module")
def run() -> Opened:
    opened = Opened(**KEYS)
    opened.play()
    return opened


@pytest.fixture(scope="module")
def played(run: Opened) -> Played:
    return {key.name: run.ledger.entries(key) for key in run.head.lineages}


def test_a_challenger_predicts_for_two_periods_before_it_is_judged(run: Opened) -> None:
    records = run.records()
    actions = ["promoted", "held", "held", "promoted", "held", "held", "rejected"]
    assert [record.judgement.action for record in records] == actions
    assert [record.candidate for record in records] == [0, 1, None, None, 2, None, None]
    assert [record.challenger for record in records] == [None, 1, 1, None, 2, 2, None]
    assert [record.judgement.judged for record in records] == [0, 1, 1, 1, 2, 2, 2]
    assert [record.version for record in records] == [0, 0, 0, 1, 1, 1, 1]
    assert (records[3].parent, records[4].candidate_parent) == (0, 1)


def test_nothing_is_trained_in_a_shadow_and_its_rows_wait(run: Opened) -> None:
    records = run.records()
    assert [records[period].decision.why for period in (2, 3)] == [
        "the challenger of period 1 is in shadow, period 1 of 2",
        "the challenger of period 1 is in shadow, period 2 of 2",
    ]
    assert [records[period].training.get("rows") for period in (1, 2, 3, 4)] == [60, None, None, 180]


def test_the_judgement_after_a_shadow_rests_on_its_numbers(run: Opened) -> None:
    records = run.records()
    assert "agreement" not in records[1].judgement.numbers
    for period in (2, 3, 5, 6):
        assert set(records[period].judgement.numbers) == {"agreement", "candidate_accuracy", "champion_accuracy"}
    # over both batches of 60 images: a count of 120
    agreeing = records[3].judgement.numbers["agreement"] * 120
    assert agreeing == pytest.approx(round(agreeing))


def test_the_twin_holds_and_promotes_with_its_arm(run: Opened) -> None:
    for mine, other in zip(run.records(), run.records("main.twin"), strict=True):
        assert (mine.version, mine.challenger, mine.candidate) == (other.version, other.challenger, other.candidate)
        assert mine.judgement.action == other.judgement.action
        assert other.decision.why == f"replayed from the arm: {mine.decision.why}"
        assert other.judgement.why == f"replayed from the arm: {mine.judgement.action}"
        assert (other.judgement.judged, other.judgement.numbers) == (mine.judgement.judged, {})


def test_an_update_is_counted_where_the_challenger_is_promoted(run: Opened) -> None:
    since = [record.state["platform"]["since_update"] for record in run.records()]
    assert since == [0, 1, 2, 0, 1, 2, 3]


def test_weights_stay_those_of_the_champion_until_the_challenger_serves(run: Opened) -> None:
    weights = [record.weights for record in run.records()]
    assert weights[0] == weights[1] == weights[2] != weights[3]
    assert weights[3] == weights[4] == weights[5] == weights[6]


def test_a_shadow_continued_by_fresh_processes_is_the_same(played: Played) -> None:
    opened = Opened(**KEYS)
    for period in range(6):
        opened.play(until=period)
        if period == 2:
            assert opened.aliases() == {"champion": 0, "challenger": 1}
    assert digests(opened.play()) == digests(played)
    assert opened.aliases() == {"champion": 1, "previous": 0}


@pytest.mark.parametrize(("stage", "control"), [("gate", "none"), ("commit", "paced")])
def test_a_shadow_that_dies_within_its_last_period_is_the_same(played: Played, stage: str, control: str) -> None:
    opened = Opened(**KEYS)
    with pytest.raises(Stop):
        opened.play(wrap=dies_after(stage, 3, control))
    assert opened.aliases("main.twin")["champion"] == (0 if stage == "gate" else 1)
    assert digests(opened.play()) == digests(played)


def test_a_champion_rolled_back_takes_the_challenger_with_it() -> None:
    opened = Opened(periods=6, shadow={"periods": 2}, gate={"use": "scripted", "roll_back": [5]}, twins=[])
    opened.play()
    records = opened.records()
    assert [record.judgement.action for record in records[3:]] == ["promoted", "held", "rolled back", "held"]
    assert [record.version for record in records[3:]] == [1, 1, 0, 0]
    assert records[5].judgement.why == "the challenger is not held: rolled back by the script"
    assert [record.challenger for record in records[3:]] == [None, 2, None, 3]
    assert records[6].candidate_parent == 0


@pytest.mark.parametrize(("flagged", "action"), [(2, "promoted"), (3, "rejected")])
def test_an_inspector_looks_at_the_challenger_when_its_shadow_is_over(flagged: int, action: str) -> None:
    defense = {"use": "scripted", "surface": "inspector", "script": {flagged: "flag"}}
    gate = {"use": "accuracy", "tolerance": 1.0}
    opened = Opened(periods=3, shadow={"periods": 2}, gate=gate, defenses=[defense], in_process=True, twins=[])
    opened.play()
    records = opened.records()
    looked = [[outcome.subject for outcome in record.outcomes] for record in records]
    assert looked == [["candidate"], ["candidate", "champion"], ["champion"], ["champion", "challenger"]]
    assert records[3].judgement.action == action
