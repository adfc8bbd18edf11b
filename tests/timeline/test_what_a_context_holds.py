"""A defense is handed what a defender has, in a real attacked run, and can reach nothing of the truth from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from defenses.base import Context, PastOutcome
from simulator.batch import Batch
from simulator.records import Arrival
from simulator.world.world import World

from . import spying_defenses
from .conftest import Opened
from .spying_defenses import reachable

SURFACES = ("Filter", "Training", "Repair", "Inspector", "Screen")
KEYS: dict[str, Any] = {
    "periods": 4,
    "in_process": True,
    "stream": {"base": 300, "batch": 60, "validation": 60, "relearning": 20, "test": 100, "label_delay": 1},
    "drift": [{"use": "brightness", "amount": 0.05}],
    "campaign": {"use": "persistent", "rate": 0.2},
    "recipe": {
        "base": {"epochs": 1, "batch": 32}, "update": {"epochs": 1, "batch": 32}, "replay": {"share": 0.5},
    },
    "policy": {"use": "scripted", "periods": [2, 4]},
    "gate": {"use": "accuracy", "tolerance": 1.0},
    "probes": [{"use": "attack-success"}],
    "twins": [],
    "defenses": [{"use": f"tests.timeline.spying_defenses:Spy{surface}"} for surface in SURFACES],
}  # fmt: skip
SECRET, NUMBER = "planted-in-the-campaign", 0.123456789


class Truth:
    """What only the world knows in a run: planted where it had no content of its own."""

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self.roles: list[Tensor] = []
        self.test_rows: set[bytes] = set()

    def found_in(self, root: Any) -> list[str]:
        """Say what of the truth can be reached from `root`."""
        known = {id(one) for one in self.objects}
        return [told for one in reachable(root) for told in self._told(one, known)]

    def _told(self, one: Any, known: set[int]) -> Iterator[str]:
        module = type(one).__module__
        if id(one) in known or module.startswith(("simulator.world", "simulator.observer", "simulator.loop")):
            yield f"a {type(one).__name__} of the world"
        if (isinstance(one, str) and SECRET in one) or (isinstance(one, float) and one == NUMBER):
            yield f"planted: {one}"
        if isinstance(one, Tensor):
            if any(one.shape == roles.shape and torch.equal(one.to(roles.dtype), roles) for roles in self.roles):
                yield "the roles of rows"
            if one.dim() == 4 and one.is_floating_point() and self.test_rows & _rows(one):
                yield "test images"


def _rows(images: Tensor) -> set[bytes]:
    return {row.contiguous().numpy().tobytes() for row in images.detach()}


@pytest.fixture(scope="module")
def truth() -> Iterator[Truth]:
    found = Truth()
    arrive, poisoned, test = World.arrive, World._poisoned, World.test

    def arrived(world: World, *given: Any, **named: Any) -> tuple[Batch, Arrival, Tensor]:
        batch, arrival, roles = arrive(world, *given, **named)
        state = {**arrival.campaign_state, SECRET: NUMBER}
        found.objects += [world, world.attack, arrival, arrival.campaign_state]
        return batch, arrival.model_copy(update={"campaign_state": state, "true_drift": {SECRET: NUMBER}}), roles

    def with_roles(world: World, *given: Any) -> tuple[Batch, Tensor]:
        batch, roles = poisoned(world, *given)
        found.objects.append(roles)
        if bool(roles.any()):
            found.roles.append(roles)
        return batch, roles

    def tested(world: World, *given: Any) -> Any:
        batch = test(world, *given)
        found.objects.append(batch)
        found.test_rows |= _rows(batch.images)
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "arrive", arrived)
        patch.setattr(World, "_poisoned", with_roles)
        patch.setattr(World, "test", tested)
        yield found


@pytest.fixture(scope="module")
def calls(truth: Truth) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What each call of a defense was handed, and what of the truth it could reach, loading all that it may."""
    made: list[tuple[str, dict[str, Any]]] = []

    def listen(surface: str, context: Context) -> None:
        loaded = [one.model() for one in context.history.versions if one.load is not None]
        rows = {one.period: one.rows() for one in context.history.batches if one.load is not None}
        incoming = context.incoming  # what is served is what the observer asks: it is handed on purpose
        handed = [getattr(context, name) for name in Context.__dataclass_fields__ if name != "incoming"]
        window = context.window
        made.append((surface, {
            "period": context.period, "subject": context.subject, "incoming": incoming is not None,
            "truth": truth.found_in([handed, loaded, rows, *([incoming] if surface != "screen" else [])]),
            "window": None if window is None else (len(window), window.periods, window.fresh),
            "rows": {period: (len(one), one.periods, one.fresh) for period, one in rows.items()},
            "batches": [one.period for one in context.history.batches],
            "champion": context.history.champion, "state": context.state,
        }))  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spying_defenses, "LISTENERS", [listen])
        opened = Opened(**KEYS)
        opened.play()
        failed = [one for record in opened.records() for one in record.outcomes if one.status == "failed"]
        assert failed == []
        yield made


def test_nothing_true_can_be_reached(truth: Truth, calls: list[tuple[str, dict[str, Any]]]) -> None:
    assert {surface for surface, _ in calls} == {"filter", "training", "repair", "inspector", "screen"}
    assert truth.roles
    assert truth.test_rows
    assert {told for _, call in calls for told in call["truth"]} == set()


def test_the_walk_finds_what_is_hidden(truth: Truth, calls: list[tuple[str, dict[str, Any]]]) -> None:
    roles, world = truth.roles[0].clone(), truth.objects[0]
    for smuggled in (lambda: roles, {"a": [world]}, [f"it is {SECRET}"], torch.nn.ParameterList([torch.ones(1)])):
        hidden = bool(truth.found_in(smuggled))
        assert hidden is not isinstance(smuggled, torch.nn.Module)


def of(calls: list[tuple[str, dict[str, Any]]], surface: str, period: int) -> list[dict[str, Any]]:
    return [call for kind, call in calls if kind == surface and call["period"] == period]


def test_no_outcome_counts_poisoned_rows_or_what_the_observer_showed_a_screen() -> None:
    """Beside the labelled upper bound, and a screen that refuses all that the observer stamped."""
    seen: list[tuple[str, list[PastOutcome], list[dict[str, Any]]]] = []

    def listen(surface: str, context: Context) -> None:
        handed = [getattr(context, name) for name in Context.__dataclass_fields__]
        found = list(reachable(handed))
        counts = [one for one in found if isinstance(one, dict) and {"dropped", "refused"} & one.keys()]
        seen.append((surface, [one for one in found if isinstance(one, PastOutcome)], counts))

    surfaces = ("Filter", "Training", "Repair", "Inspector", "Refuser")
    spies = [{"use": f"tests.timeline.spying_defenses:Spy{surface}"} for surface in surfaces]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spying_defenses, "LISTENERS", [listen])
        opened = Opened(**KEYS | {"oracle": True, "defenses": spies})
        opened.play()
    said = [outcome for record in opened.records() for outcome in record.outcomes]
    assert max(one.evidence["dropped"] for one in said if one.name == "oracle") > 10
    assert min(one.evidence["refused"] for one in said if one.surface == "screen") > 10
    assert {surface for surface, _, _ in seen} == {"filter", "training", "repair", "inspector", "screen"}
    outcomes = [one for _, told, _ in seen for one in told]
    assert {one.surface for one in outcomes} == {"filter", "training", "repair", "inspector"}
    assert {one.name for one in outcomes} == {one["use"] for one in spies[:-1]}
    assert {one["dropped"] for _, _, counts in seen for one in counts} == {1}  # the first row, by the spy itself
    assert not [one for _, _, counts in seen for one in counts if "refused" in one]


def test_each_knows_whose_model_it_looks_at(calls: list[tuple[str, dict[str, Any]]]) -> None:
    for surface, period, subject in (
        ("training", 0, "candidate"), ("training", 2, "champion"),
        ("filter", 0, "candidate"), ("filter", 2, "champion"), ("repair", 2, "candidate"),
        ("inspector", 2, "candidate"), ("inspector", 3, "champion"), ("screen", 2, "champion"),
    ):  # fmt: skip
        assert {call["subject"] for call in of(calls, surface, period)} == {subject}
    assert [of(calls, "screen", 2)[0]["champion"], of(calls, "inspector", 2)[0]["champion"]] == [1, 0]


def test_repairs_and_inspectors_of_a_candidate_see_what_it_was_trained_on(
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    """In period 2 labels of period 1 arrive: 60 new rows, half as many replayed, and the filter drops the first."""
    (filtered,) = of(calls, "filter", 2)
    count, periods, fresh = filtered["window"]
    assert (count, int(fresh.sum()), periods[:60].unique().tolist()) == (90, 60, [1])
    assert periods[60:].unique().tolist() == [0]
    assert not fresh[60:].any()
    for surface in ("training", "repair", "inspector"):
        (call,) = of(calls, surface, 2)
        assert call["window"][0] == 89
        assert torch.equal(call["window"][1], periods[1:])
        assert torch.equal(call["window"][2], fresh[1:])
    assert [call["window"] for surface in ("inspector", "screen") for call in of(calls, surface, 3)[:1]] == [None, None]


def test_batches_are_those_whose_labels_have_arrived_without_dropped_rows(
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    """In period 3, without an update, the labels of periods 0 to 2 have arrived; those of 2 wait for training."""
    (call,) = of(calls, "inspector", 3)
    assert call["batches"] == [0, 1, 2]
    assert {period: count for period, (count, _, _) in call["rows"].items()} == {1: 59, 2: 60}
    assert {period: bool(fresh.all()) for period, (_, _, fresh) in call["rows"].items()} == {1: False, 2: True}
    assert {period: periods.unique().tolist() for period, (_, periods, _) in call["rows"].items()} == {1: [1], 2: [2]}


def test_a_state_is_private(calls: list[tuple[str, dict[str, Any]]]) -> None:
    (call,) = of(calls, "filter", 2)
    assert (call["state"].period, call["state"].values) == (0, {"period": 0})
    assert of(calls, "repair", 2)[0]["state"].period is None
