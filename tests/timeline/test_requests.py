"""What defenses ask for: granted or refused by the scenario, carried out, recorded, and the same after a resume."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from simulator.loop.run import continue_run, play
from simulator.production.objections import Occasion, Standing, no_roll_back
from simulator.production.update import Updater, Window
from simulator.records import Asked, PeriodRecord, ReplayChange

from .conftest import SMALL, Opened, Stop, dies_after, digests

RECIPE: dict[str, Any] = {"base": {"epochs": 1, "batch": 32}, "update": {"epochs": 1, "batch": 32}}
KEYS: dict[str, Any] = {"periods": 4, "in_process": True, "recipe": RECIPE}
WHY = "asked for by scripted: the script says so"


def asking(asks: dict[int, list[dict[str, Any]]], *may: str, surface: str = "inspector", **keys: Any) -> dict[str, Any]:
    return {"use": "scripted", "surface": surface, "asks": asks, "may": list(may), **keys}


def played(*defenses: dict[str, Any], **keys: Any) -> Opened:
    opened = Opened(**KEYS | {"defenses": list(defenses)} | keys)
    opened.play()
    return opened


def asked(record: PeriodRecord, name: str = "scripted", subject: str | None = None) -> list[Asked]:
    outcomes = [one for one in record.outcomes if one.name == name and subject in (None, one.subject)]
    return [request for outcome in outcomes for request in outcome.requests]


def test_a_roll_back_that_is_granted_lets_an_older_version_serve_in_the_twin_too() -> None:
    run = played(asking({3: [{"kind": "roll-back", "to": 1}]}, "roll-back"))
    for line in ("main", "main.twin"):
        records = run.records(line)
        assert [record.version for record in records] == [0, 1, 2, 1, 4]
        assert [record.judgement.action for record in records][3:] == ["rolled back", "promoted"]
        assert records[4].candidate_parent == 1
    record = run.records()[3]
    assert (record.judgement.why, record.judgement.judged) == (WHY, 3)
    assert asked(record) == [
        Asked(kind="roll-back", reason="the script says so", to=1, granted=True, why="ordinal 1 serves from now on")
    ]
    (twins,) = asked(run.records("main.twin")[3])
    assert (twins.granted, twins.why) == (False, "this twin replays the decisions of its arm")


def test_roll_backs_that_make_no_sense_are_refused_and_say_why() -> None:
    to = [{"kind": "roll-back", "to": ordinal} for ordinal in (1, 9, 0)]
    run = played(
        asking({1: to[2:], 2: to[:2], 3: [to[2]], 4: [{"kind": "roll-back", "to": 1}, *to[2:]]}, "roll-back"), twins=[]
    )
    whys = [[(one.granted, one.why) for one in asked(record)] for record in run.records()]
    assert whys[1:] == [
        [(False, "ordinal 0 serves already")],
        [(False, "ordinal 1 serves already"), (False, "ordinal 9 has never served")],
        [(True, "ordinal 0 serves from now on")],
        [(False, "ordinal 1 was rolled back from"), (False, "ordinal 0 serves already")],
    ]
    assert [record.version for record in run.records()] == [0, 1, 2, 0, 4]


def test_a_version_that_is_too_far_back_is_not_at_hand() -> None:
    rows = torch.empty((0, 2), dtype=torch.long), torch.empty(0, dtype=torch.long)
    occasion = Occasion("inspect candidate", 6, True, 5, frozenset({2, 3, 4}), *rows)
    standing = Standing(frozenset(range(6)), frozenset(), [], {})
    request = Asked(kind="roll-back", reason="r", to=0)
    assert no_roll_back(request, occasion, standing) == (
        "ordinal 0 is not at hand: the nearest ancestors of the champion are, and what versions_back reaches"
    )


def test_what_was_rolled_back_from_does_not_serve_again_on_request() -> None:
    asks = {3: [{"kind": "roll-back", "to": 1}], 4: [{"kind": "roll-back", "to": 2}]}
    run = played(asking(asks, "roll-back", back=4), twins=[])
    assert asked(run.records()[4])[0].why == "ordinal 2 was rolled back from"


def test_no_version_of_a_branch_that_was_given_up_serves_again_on_request() -> None:
    """From 3 back to 1, past 2: neither of them was left alone by it."""
    asks = {4: [{"kind": "roll-back", "to": 1}], 5: [{"kind": "roll-back", "to": to} for to in (2, 3, 0)]}
    run = played(
        asking(asks, "roll-back", back=6), twins=[], periods=5, policy={"use": "scripted", "periods": [1, 2, 3]}
    )
    assert [record.version for record in run.records()] == [0, 1, 2, 3, 1, 0]
    assert [(one.granted, one.why) for one in asked(run.records()[5])] == [
        (False, "ordinal 2 was rolled back from"), (False, "ordinal 3 was rolled back from"),
        (True, "ordinal 0 serves from now on"),
    ]  # fmt: skip
    assert run.records()[4].state["platform"]["granting"]["left"] == [2, 3]


def test_after_a_roll_back_rows_are_not_replayed_and_a_state_is_cleared_as_for_any_other() -> None:
    recipe = RECIPE | {"replay": {"share": 0.5}}
    inspector = asking({3: [{"kind": "roll-back", "to": 1}]}, "roll-back", remembers=True, after_rollback="clear")
    run = played(inspector, recipe=recipe, twins=[])
    assert run.records()[3].replay == ReplayChange(left=[2, 3])
    assert "defense_states" not in run.records()[3].state["platform"]


def test_a_hold_rejects_the_candidate_with_its_reason() -> None:
    run = played(asking({0: [{"kind": "hold"}], 2: [{"kind": "hold", "reason": "wait for labels"}]}, "hold"))
    records = run.records()
    assert [record.version for record in records] == [0, 1, 1, 3, 4]
    why = "held, asked for by scripted: wait for labels"
    assert (records[2].judgement.action, records[2].judgement.why) == ("rejected", why)
    assert asked(records[0])[0].why == "the first version serves whatever the verdict"
    assert [record.version for record in run.records("main.twin")] == [0, 1, 1, 3, 4]


def test_a_hold_ends_a_shadow_and_has_no_meaning_where_nothing_is_judged() -> None:
    hold = {"kind": "hold"}
    run = played(
        asking({2: [hold], 3: [hold]}, "hold", surface="inspector"),
        shadow={"periods": 2}, policy={"use": "scripted", "periods": [1]}, twins=[],
    )  # fmt: skip
    assert [record.judgement.action for record in run.records()] == ["promoted", "held", "rejected", "kept", "kept"]
    assert asked(run.records()[3])[0].why == "no candidate and no challenger is judged in this period"


def test_a_retraining_comes_next_by_its_own_recipe_and_once() -> None:
    recipe = {"epochs": 3, "schedule": {"use": "constant", "rate": 0.02}, "replay": {"share": 0.5}}
    run = played(
        asking({1: [{"kind": "retrain", "recipe": recipe}]}, "retrain"), policy={"use": "scripted", "periods": [4]}
    )
    for line in ("main", "main.twin"):
        records = run.records(line)
        assert [record.candidate for record in records] == [0, None, 1, None, 2]
        assert len(records[2].training["losses"]) == 3
        assert records[2].training["recipe"] == records[2].decision.recipe == recipe
        assert records[2].training["replayed"] == 60  # two batches of 60 are new, half as many are replayed
        assert len(records[4].training["losses"]) == 1
        assert "recipe" not in records[4].training
    assert run.records()[2].decision.why == f"{WHY} (period 1)"
    assert run.records()[1].state["platform"]["granting"] == {"recipe": recipe}


@pytest.mark.parametrize(("recipe", "why"), [
    ({"seed": 1}, "expected any of epochs, batch, schedule, optimizer and replay, got 'seed'"),
    ({"epochs": 0}, "epochs: Input should be greater than 0"),
    ({"batch": 61}, "expected batch to be at most stream.batch (60), got 61"),
    ({"schedule": {"use": "os:system"}}, "expected one of ebbdoor's schedules or the scenario's own, got 'os:system'"),
    ({"schedule": {"use": "constant", "rate": -1}}, "expected rate to be above 0"),
    ({"replay": {"share": 2}}, "share: Input should be less than or equal to 1"),
    ({"replay": {"after_rollback": "keep"}}, "expected replay to be a mapping with share alone"),
])  # fmt: skip
def test_a_recipe_that_does_not_fit_is_refused(recipe: dict[str, Any], why: str) -> None:
    run = played(asking({0: [{"kind": "retrain", "recipe": recipe}]}, "retrain"), periods=1, twins=[])
    (request,) = asked(run.records()[0])
    assert not request.granted
    assert request.why.startswith("its recipe does not fit: ")
    assert why in request.why


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[tuple[int, int]]]:
    """Period -> places of the rows that were replayed in it."""
    found: dict[int, set[tuple[int, int]]] = {}
    window = Updater.window

    def seen(self: Updater, period: int, *given: Any) -> Window:
        made = window(self, period, *given)
        found.setdefault(period, set()).update(map(tuple, made.origin[~made.fresh].tolist()))
        return made

    monkeypatch.setattr(Updater, "window", seen)
    return found


#: all earlier rows are few enough to be replayed together
ALL = {"recipe": RECIPE | {"replay": {"share": 1.0}}, "twins": [], "stream": SMALL["stream"] | {"base": 60}}


def test_a_filters_purge_takes_rows_out_of_this_window_and_of_all_later_ones(
    replayed: dict[int, set[tuple[int, int]]],
) -> None:
    run = played(asking({1: [{"kind": "purge", "rows": 0.1}]}, "purge", surface="filter"), **ALL)
    record = run.records()[1]
    assert asked(record) == [
        Asked(kind="purge", reason="the script says so", rows=12, granted=True,
              why="neither trained on in this period nor replayed later")
    ]  # fmt: skip
    assert (record.training["dropped"], record.training["rows"]) == (12, 108)  # 60 new rows and 60 replayed ones
    assert record.state["platform"]["dropped"] == [[1, list(range(12))]]
    assert not {(1, row) for row in range(12)} & (replayed[2] | replayed[3] | replayed[4])


def test_an_inspectors_purge_of_periods_empties_them_in_the_pool_for_good(
    replayed: dict[int, set[tuple[int, int]]],
) -> None:
    """A roll-back to version 0 brings its rows back, but not those."""
    asks = {2: [{"kind": "purge", "periods": [0, 1]}], 3: [{"kind": "roll-back", "to": 0}]}
    run = played(asking(asks, "purge", "roll-back"), **ALL)
    assert run.records()[2].training["dropped"] == 0
    assert run.records()[2].replay == ReplayChange(purged=[0, 1])
    assert run.records()[2].state["platform"]["purged"] == [[0, f"{WHY} (period 2)"], [1, f"{WHY} (period 2)"]]
    assert {period for period, _ in replayed[3]} == {2}
    assert run.records()[3].version == 0
    assert replayed[4] == set()


def test_a_purge_of_a_period_whose_labels_are_late_keeps_it_out_of_the_window() -> None:
    run = played(
        asking({1: [{"kind": "purge", "periods": [1]}]}, "purge"),
        stream=SMALL["stream"] | {"label_delay": 2}, twins=[],
    )  # fmt: skip
    assert [record.candidate for record in run.records()] == [0, None, None, None, 1]
    assert run.records()[4].training["rows"] == 60


def test_a_defense_that_looks_back_finds_purged_periods_empty() -> None:
    run = played(asking({2: [{"kind": "purge", "periods": [1]}]}, "purge", back=2), periods=3, twins=[])
    rows = dict(run.records()[3].outcomes[0].evidence["rows"])
    assert rows[1] == 0.0
    assert rows[2] > 0.0


def test_purges_that_leave_nothing_to_train_on_are_refused() -> None:
    asks = {1: [{"kind": "purge", "periods": [1]}, {"kind": "purge", "rows": 0.99}, {"kind": "purge", "periods": [7]}]}
    run = played(asking(asks, "purge", surface="filter"), periods=1, twins=[])
    whys = [one.why for one in asked(run.records()[1])]
    assert whys[0] == "it would leave fewer than two rows to train on"
    assert whys[1] == "it would leave fewer than two rows to train on"
    assert whys[2] == "period 7 has not come yet"
    assert run.records()[1].training["dropped"] == 0


def test_without_a_word_in_the_scenario_nothing_is_granted() -> None:
    everything = [
        {"kind": "hold"},
        {"kind": "retrain"},
        {"kind": "purge", "periods": [0]},
        {"kind": "roll-back", "to": 0},
    ]
    run = played(asking({2: everything}), asking({2: everything}, "purge"), twins=[])
    first, second = asked(run.records()[2]), asked(run.records()[2], "scripted-2")
    assert [one.why for one in first] == [
        f"the scenario grants it nothing; add may: [{kind}]" for kind in ("hold", "retrain", "purge", "roll-back")
    ]
    assert [one.granted for one in second] == [False, False, True, False]
    assert second[0].why == "the scenario grants it purge; add hold to its may"
    assert [record.version for record in run.records()] == [0, 1, 2, 3, 4]


def test_the_first_of_two_that_contradict_each_other_is_granted() -> None:
    run = played(
        asking({3: [{"kind": "roll-back", "to": 1}, {"kind": "retrain", "recipe": {"epochs": 2}}]}, "roll-back",
               "retrain"),
        asking({3: [{"kind": "roll-back", "to": 0}, {"kind": "retrain", "recipe": {"epochs": 3}}]}, "roll-back",
               "retrain"),
        twins=[],
    )  # fmt: skip
    assert [one.granted for one in asked(run.records()[3])] == [True, True]
    assert [one.why for one in asked(run.records()[3], "scripted-2")] == [
        "a roll-back to ordinal 1 is granted already", "a retraining with another recipe is due already",
    ]  # fmt: skip
    assert run.records()[3].version == 1


#: all four at once, in surfaces of every kind
EVERYTHING: dict[str, Any] = KEYS | {
    "periods": 4,
    "recipe": RECIPE | {"replay": {"share": 0.5}},
    "gate": {"use": "accuracy"},
    "policy": {"use": "scripted", "periods": [1, 2, 4]},
    "defenses": [
        asking({1: [{"kind": "purge", "rows": 0.1}]}, "purge", surface="filter", again=True),
        asking({2: [{"kind": "retrain", "recipe": {"epochs": 2}}]}, "retrain", surface="training"),
        asking({2: [{"kind": "purge", "periods": [1]}]}, "purge", surface="repair"),
        asking({3: [{"kind": "roll-back", "to": 1}], 4: [{"kind": "hold"}]}, "roll-back", "hold"),
    ],
}


@pytest.fixture(scope="module")
def whole() -> dict[str, list[str]]:
    return digests(Opened(**EVERYTHING).play())


@pytest.mark.parametrize(("stage", "period"), [
    ("filter", 1), ("commit", 1), ("train", 2), ("repair", 2), ("commit", 2), ("inspect", 3), ("gate", 3),
    ("commit", 3), ("gate", 4),
])  # fmt: skip
def test_killed_and_resumed_the_same_is_granted(whole: dict[str, list[str]], stage: str, period: int) -> None:
    opened = Opened(**EVERYTHING)
    with pytest.raises(Stop):
        opened.play(wrap=dies_after(stage, period, "none"))
    head, scenario = continue_run(opened.registry, opened.ledger, "run")
    assert digests(play(head, scenario, opened.registry, opened.ledger, processes=0)) == whole


def test_everything_that_was_asked_for_was_granted_and_done(whole: dict[str, list[str]]) -> None:
    opened = Opened(**EVERYTHING)
    opened.play()
    records = opened.records()
    assert [record.version for record in records] == [0, 1, 2, 1, 1]
    assert [[one.granted for outcome in record.outcomes for one in outcome.requests] for record in records] == [
        [],
        [True, True],  # the filter asks at both looks
        [True, True],
        [True],
        [True, True],  # a held candidate has the champion looked at too
    ]  # fmt: skip
    assert [record.training.get("trainer") for record in records] == ["scripted-2"] * 5
    assert records[3].training["recipe"] == {"epochs": 2}


@pytest.mark.slow
def test_in_workers_and_in_processes_of_their_own_the_same_is_granted() -> None:
    """Up to period 1 in one set of workers, the rest in another."""
    opened = Opened(**EVERYTHING | {"in_process": False})
    for until in (1, 4):
        play(opened.head, opened.scenario, opened.registry, opened.ledger, until=until, processes=1)
    beside = Opened(**EVERYTHING)
    beside.play()
    for line in ("main", "main.twin"):
        same = {"scenario": opened.records()[0].scenario}
        assert opened.records(line) == [record.model_copy(update=same) for record in beside.records(line)]
