"""A roll-back takes the rows of the abandoned versions out of what is replayed, unless the scenario keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.loop.actions import roll_back
from simulator.observer.summary import summarise
from simulator.production.policy import PastPeriod
from simulator.production.replay import ReplayPool, first_trained_on
from simulator.production.update import Updater, Window
from simulator.records import ReplayChange, digest_of
from simulator.scenario.model import Scenario

from .conftest import SMALL, Opened, digests, play_in_memory

#: poison arrives in period 1 alone; in period 2 version 0 serves again; half as many rows as are new are replayed
CASE: dict[str, Any] = {
    "periods": 4,
    "campaign": {"use": "one-shot", "period": 1, "rate": 0.3},
    "in_process": True,
    "probes": [{"use": "attack-success"}],
}
GATE = {"use": "scripted", "roll_back": [2]}


def recipe(epochs: int = 1, **replay: Any) -> dict[str, Any]:
    return SMALL["recipe"] | {"replay": {"share": 0.5, **replay}, "update": {"epochs": epochs, "batch": 16}}


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[int]]:
    """Period -> the periods whose rows were replayed in it, as the arm and its twins are played."""
    found: dict[int, set[int]] = {}
    window = Updater.window

    def seen(self: Updater, period: int, *given: Any) -> Window:
        made = window(self, period, *given)
        found.setdefault(period, set()).update(made.origin[~made.fresh, 0].tolist())
        return made

    monkeypatch.setattr(Updater, "window", seen)
    return found


def changes(opened: Opened, line: str = "main") -> list[ReplayChange | None]:
    return [record.replay for record in opened.records(line)]


def test_after_the_gate_rolled_back_the_poisoned_rows_are_not_replayed(replayed: dict[int, set[int]]) -> None:
    opened = Opened(**CASE, gate=GATE, recipe=recipe())
    opened.play()
    assert [record.version for record in opened.records()] == [0, 1, 0, 3, 4]
    # of period 2 a candidate was made from the version that is abandoned: its rows go too
    assert (replayed[3], replayed[4]) == ({0}, {0, 3})
    left = ReplayChange(left=[1, 2])
    assert changes(opened) == changes(opened, "main.twin") == [None, None, left, None, None]
    assert opened.records()[4].state["platform"]["not_replayed"] == [1, 2]


def test_the_scenario_may_keep_them_and_the_record_says_so(replayed: dict[int, set[int]]) -> None:
    opened = Opened(**CASE, gate=GATE, recipe=recipe(after_rollback="keep"))
    opened.play()
    assert (replayed[3], replayed[4]) == ({0, 1, 2}, {0, 1, 2, 3})
    assert changes(opened) == [None, None, ReplayChange(kept=[1, 2]), None, None]
    assert "not_replayed" not in opened.records()[4].state["platform"]


def test_after_an_operator_rolled_back_and_forth(replayed: dict[int, set[int]]) -> None:
    opened = Opened(**CASE, recipe=recipe())
    for after, to in ((1, 0), (2, 1)):
        opened.play(until=after)
        roll_back(opened.head, opened.registry, opened.ledger, "main", to, "looks wrong")
    opened.play()
    # version 1 serves again after period 2: its rows are back, those of version 2, made of version 0, leave
    assert (replayed[2], replayed[3]) == ({0}, {0, 1})
    expected = [None, None, ReplayChange(left=[1]), ReplayChange(left=[2], returned=[1]), None]
    assert changes(opened) == changes(opened, "main.twin") == expected


@pytest.mark.parametrize(("how", "comes_back"), [("drop", False), ("keep", True)])
def test_poison_of_a_period_that_was_rolled_back_does_not_plant_again(how: str, comes_back: bool) -> None:
    base = {"epochs": 10, "batch": 32, "schedule": {"use": "one-cycle", "peak": 0.1}}
    update = {"epochs": 4, "batch": 16, "schedule": {"use": "constant", "rate": 0.05}}
    again = {"base": base, "update": update, "replay": {"share": 0.5, "after_rollback": how}}
    opened = Opened(**CASE, gate=GATE, recipe=again, stream=SMALL["stream"] | {"batch": 200})
    played = opened.play()
    nets = [entry.record.readings["backdoor/net_attack_success"].value or 0.0 for entry in played["main"]]
    # measured on two seeds: 1.0 in period 1, 0.0 in period 2; then 0.6 to 0.8 where the rows are kept, else 0.0
    assert (nets[1] > 0.9, nets[2] < 0.1, max(nets[3:]) > 0.3) == (True, True, comes_back)
    assert comes_back or max(nets[3:]) < 0.1
    assert summarise(played)["arms"]["main"]["state"] == ("alive" if comes_back else "erased")


def test_fresh_processes_change_nothing() -> None:
    once, stepwise = (Opened(**CASE, gate=GATE, recipe=recipe()) for _ in range(2))
    once.play()
    for period in range(5):
        stepwise.play(until=period)
    assert digests(once.play()) == digests(stepwise.play())


@pytest.mark.slow
def test_worker_processes_change_nothing() -> None:
    scenario = Scenario.model_validate(SMALL | CASE | {"gate": GATE, "recipe": recipe()})
    assert digests(play_in_memory(scenario, processes=2)) == digests(play_in_memory(scenario))


def test_no_record_changes_where_nothing_is_replayed() -> None:
    opened = Opened(**CASE, gate=GATE)
    opened.play()
    assert changes(opened) == [None] * 5
    assert all("replay" not in record.model_dump() for record in opened.records())
    assert opened.scenario.digest() == Opened(**CASE, gate=GATE, recipe=SMALL["recipe"]).scenario.digest()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_default_leaves_a_scenarios_digest_as_it_was(share: float) -> None:
    plain = Scenario.model_validate(SMALL | {"recipe": recipe(share=share)})
    before = plain.tree | {"recipe": plain.tree["recipe"] | {"replay": {"share": share}}}
    later = {"defense_passes", "defense_memory", "defense_confined", "on_timeout"}
    assert plain.digest() == digest_of({key: value for key, value in before.items() if key not in later})
    assert plain.digest() != Scenario.model_validate(SMALL | {"recipe": recipe(after_rollback="keep")}).digest()


def test_rows_belong_to_the_version_that_was_first_trained_on_them() -> None:
    periods = [PastPeriod(period, alarm=False, retrained=period in (0, 2, 4)) for period in range(5)]
    assert first_trained_on(periods, delay=0) == {0: (0,), 1: (1, 2), 2: (3, 4)}
    assert first_trained_on(periods, delay=2) == {0: (0,), 1: (), 2: (1, 2)}


def test_siblings_of_an_abandoned_version_keep_their_rows() -> None:
    # 0 made 1 (rejected) and 2; 2 made 3; 3 is abandoned for 0: what was never made of 2 stays
    pool = ReplayPool(Scenario.model_validate(SMALL | {"recipe": recipe()}))
    history = [PastPeriod(period, alarm=False, retrained=True) for period in range(4)]
    pool.rolled_back({0: None, 1: 0, 2: 0, 3: 2}, history, 3, 0)
    assert pool.of(range(5)) == [0, 1, 4]
    assert pool.change() == ReplayChange(left=[2, 3])
    assert pool.change() is None
    fresh = ReplayPool(Scenario.model_validate(SMALL | {"recipe": recipe()}))
    fresh.restore(pool.state())
    assert (fresh.of(range(5)), fresh.change()) == ([0, 1, 4], None)
