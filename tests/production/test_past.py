"""What of earlier periods goes to a defense that looks back: by hand-worked lines, and in bytes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from simulator.batch import Batch
from simulator.production.auditing.auditor import halves
from simulator.production.auditing.history import looked_back_to
from simulator.production.auditing.subject import Place
from simulator.production.defending.combined import of_two_calls
from simulator.production.defending.facts import DefenseFacts
from simulator.production.defending.history import LARGEST_TOLD, HistoryFacts
from simulator.production.lineage import Parents, abandoned, reach
from simulator.production.past import Past
from simulator.production.policy import PastPeriod
from simulator.production.state import PlatformState
from simulator.records import Asked, Outcome, PastRecord, Signal

#: 1 serves; 2 to 5 were trained from it and rejected
REJECTED: Parents = {0: None, 1: 0, 2: 1, 3: 1, 4: 1, 5: 1}


@pytest.mark.parametrize(("champion", "count", "expected"), [
    (1, 0, []), (1, 1, [1, 5]), (1, 2, [0, 1, 4, 5]), (1, 3, [0, 1, 3, 4, 5]), (5, 2, [1, 4, 5]), (None, 2, [4, 5]),
])  # fmt: skip
def test_the_champion_and_its_ancestors_are_in_reach_whatever_was_rejected(
    champion: int | None, count: int, expected: list[int]
) -> None:
    assert sorted(reach(REJECTED, champion, count)) == expected


def test_without_rejections_they_are_the_latest_versions() -> None:
    assert sorted(reach({one: one - 1 if one else None for one in range(9)}, 8, 3)) == [6, 7, 8]


def test_a_roll_back_gives_up_the_whole_branch_that_it_leaves() -> None:
    parents = {0: None, 1: 0, 2: 1, 3: 2, 4: 1}
    assert [sorted(abandoned(parents, *one)) for one in ((3, 1), (3, 4), (4, 0), (1, 3))] == [
        [2, 3],
        [2, 3],
        [1, 4],
        [],
    ]


def test_an_audit_loads_what_a_version_was_trained_from_whatever_was_rejected_since() -> None:
    places = [Place(one, parent, one, served=one < 2) for one, parent in REJECTED.items()]
    assert looked_back_to(places[:5], places[5], 1) == {1, 4}
    assert looked_back_to(places[:5], Place(5), 1) == {1, 4}  # its parent is not known: the last that served
    assert looked_back_to(places[:1], places[1], 1) == {0}


def line(periods: int, *said: Outcome, **facts: Any) -> HistoryFacts:
    """What a defense is told after so many periods, in each of which a version was promoted and `said` of it."""
    looks = DefenseFacts(surface="inspector", needs_trusted=False, defaults={}, **facts)
    scenario: Any = SimpleNamespace(stream=SimpleNamespace(label_delay=0), recipe=SimpleNamespace(start="champion"))
    batch = Batch(torch.zeros(1, 1, 1, 1), torch.zeros(1).long(), torch.zeros(1).long())
    past = Past([looks], lambda _: batch, scenario, set)
    for period in range(periods):
        past.committed(PastRecord(
            period=period, champion=period - 1 if period else None, candidate=period, judged=period, version=period,
            signal=Signal(method="none"), outcomes=list(said),
        ))  # fmt: skip
    parents = {one: one - 1 if one else None for one in range(periods)}
    history = [PastPeriod(period, False, True) for period in range(periods)]
    state = PlatformState(champion=periods - 1, parents=parents, next_ordinal=periods, history=history)
    return past.shown(looks, state, {}, periods)[0]


def outcome(**keys: Any) -> Outcome:
    return Outcome(**{"surface": "inspector", "name": "x", "status": "passed", "reason": "r"} | keys)


def test_what_the_labelled_bound_and_the_observers_screens_say_is_not_told() -> None:
    oracle = outcome(surface="filter", name="oracle", subject="window", evidence={"rows": 300, "dropped": 37})
    screen = outcome(surface="screen", name="strip", subject="serving", evidence={"rows": 1000, "refused": 970})
    history = line(1, oracle, screen, outcome(evidence={"score": 1.0}), versions_back=2)
    assert [one.name for version in history.versions for one in version.outcomes] == ["x"]


def test_outcomes_are_of_the_versions_in_reach_and_large_evidence_is_left_out() -> None:
    small, large = {"a": "z" * (LARGEST_TOLD - 10)}, {"a": "z" * (LARGEST_TOLD - 7)}  # {"a": "..."} has nine more
    history = line(6, outcome(evidence=small), outcome(evidence=large), versions_back=2)
    assert [len(version.outcomes) for version in history.versions] == [0, 0, 0, 0, 2, 2]
    assert [one.evidence for one in history.versions[-1].outcomes] == [small, {}]


@pytest.mark.parametrize("facts", [{"versions_back": 2}, {"periods_back": 5}, {"remembers": True}])
def test_what_a_call_is_sent_hardly_grows_with_the_periods(facts: dict[str, Any]) -> None:
    """At 100 periods all outcomes were 4.9 MB. What is left grows by facts about versions and signals alone."""
    said = outcome(evidence={"a": "z" * 49_000})
    sizes = [len(line(periods, said, **facts).model_dump_json()) for periods in (20, 100)]
    assert sizes[1] < 40_000
    assert sizes[1] - sizes[0] < 80 * 350


def test_halves_have_half_of_every_class_even_of_a_file_in_the_order_of_classes() -> None:
    labels = torch.arange(10).repeat_interleave(2)  # every second image of such a file is one of each class, or none
    ordered = torch.tensor([0, 1] * 10)
    for given in (labels, ordered, labels[:7]):
        both = halves(given, seed=3)
        assert sorted(torch.cat(both).tolist()) == list(range(len(given)))
        counts = [given[half].bincount(minlength=10) for half in both]
        assert int((counts[0] - counts[1]).abs().max()) <= 1
    assert not torch.equal(halves(labels, seed=1)[0], halves(labels, seed=2)[0])
    assert torch.equal(halves(labels, seed=1)[0], halves(labels, seed=1)[0])


def test_what_was_called_twice_keeps_all_that_it_asked_for_and_cost() -> None:
    asked = [Asked(kind="hold", reason="first"), Asked(kind="hold", reason="second")]
    cost = {"samples": 5, "trusted_images": 40}
    looks = [outcome(surface="filter", requests=[one], cost=cost, evidence={"n": one.reason}) for one in asked]
    (both,) = of_two_calls(looks[:1], looks[1:])
    assert (both.requests, both.cost, both.evidence) == (asked, {"samples": 10, "trusted_images": 40}, {"n": "second"})
    (stands,) = of_two_calls(looks[:1], [outcome(surface="filter", status="skipped", cost=cost)])
    assert (stands.status, stands.requests, stands.evidence) == ("passed", asked[:1], {"n": "first"})
    assert stands.cost["samples"] == 10
