"""Conformance checks of defenses: results of their surface's shape that depend on the context alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from defenses.base import Context, DoesNotApply, History, Recipe, Rows, State, Surface
from defenses.base import Subject as About
from simulator.checks.earlier import PERIOD, history_for, looks_back, read_again
from simulator.checks.material import CASES, LARGEST, MATRIX, Case, images_of, labels_of, model_of, stream
from simulator.checks.subject import Failed, Inapplicable, Subject, expect, same, unchanged
from simulator.errors import PluginError
from simulator.production.defending.facts import class_attributes
from simulator.production.defending.job import METHODS
from simulator.production.defending.memory import Memory
from simulator.production.defending.observing import noted
from simulator.production.defending.recipe import RecipeFacts, recipe_of
from simulator.production.defending.results import DefenseRun, read_result
from simulator.production.defending.unusable import Unusable
from simulator.records import Outcome
from simulator.scenario.model import Phase
from simulator.tensors import weights_of

_ROWS = 120
#: rows of each class in a window that a filter is to judge: some look at no class with fewer
_EACH = 20
#: surfaces whose methods train or search class by class: they are asked about the largest of the further shapes alone
_COSTLY = ("repair", "inspector")
#: contexts on which a threshold is tried that judges versions or windows whole
_LOOKS = 2
#: rows of these contexts: some defenses look at no class with fewer than twenty
_MANY = 300


def result_fits_its_surface(subject: Subject) -> None:
    """The platform can use the result: its surface's type, the right shapes, finite numbers, evidence that is JSON."""
    surface, found = subject.make().surface, []
    for case in (*CASES, LARGEST) if surface in _COSTLY else MATRIX:
        many = surface == "filter" and case not in CASES
        found.append(_usable(subject, _context(subject, case, rows=_EACH * case.classes if many else _ROWS)))
    if all(run is None for run in found):
        raise Inapplicable("it raises DoesNotApply about every model and window of the checks")


def same_seed_same_result(subject: Subject) -> None:
    """The same context with the same seed gives the same result."""
    for case in CASES:
        first, second = (_call(subject, _context(subject, case)) for _ in range(2))
        expect(same(first, second), "expected the same result from the same seed, got another")


def inputs_are_left_alone(subject: Subject) -> None:
    """Window, incoming and trusted images and global random states stay as they were (the model is a private copy)."""
    for case in CASES:
        context = _context(subject, case)
        unchanged(
            lambda: _call(subject, context),  # noqa: B023
            trusted_images=context.trusted.images,
            trusted_labels=context.trusted.labels,
            window_images=None if context.window is None else context.window.images,
            window_labels=None if context.window is None else context.window.labels,
            incoming=context.incoming,
        )


def need_of_trusted_images_is_declared(subject: Subject) -> None:
    """With no trusted images it works, or raises `DoesNotApply` and declares `needs_trusted`."""
    defense = subject.make()
    for case in CASES:
        works = _call(subject, _context(subject, case, trusted=0)) is not None
        unusable = not works and _call(subject, _context(subject, case)) is not None
        expect(
            defense.needs_trusted or not unusable,
            "expected needs_trusted = True, as it does nothing without, got False",
        )


def few_rows_do_no_harm(subject: Subject) -> None:
    """With one row of each it gives a result that the platform can use, or raises `DoesNotApply`."""
    for case in CASES:
        _usable(subject, _context(subject, case, rows=1, trusted=1))


def class_says_what_it_needs(subject: Subject) -> None:
    """`calibration`, `threshold_option`, `versions_back`, `periods_back` and so on are of their types."""
    try:
        class_attributes(subject.use, subject.make())
    except PluginError as error:
        raise Failed(str(error)) from error


def the_threshold_it_names_decides(subject: Subject) -> None:
    """Set between two of its scores, the option of `threshold_option` flags what lies beyond it, and nothing else."""
    named = subject.make().threshold_option
    if named is None:
        raise Inapplicable("it names no threshold_option")
    found = [_noted(subject, draw) for draw in range(1 if named.of == "scores" else _LOOKS)]
    scores = sorted({score for one in found if one for score in one["scores"]}, reverse=True)
    if len(scores) < 2:
        raise Inapplicable("its scores on the example do not differ, so that no threshold lies between two")
    place = len(scores) // 10
    between = (scores[place] + scores[place + 1]) / 2
    value = between if named.flags == "above" else -between
    moved = replace(subject, given={**subject.given, named.option: value})
    try:
        moved.make()
    except PluginError:  # what is calibrated to it is refused too
        raise Inapplicable(f"{value:.4g}, between two of its scores, is out of the bounds of {named.option}") from None
    for draw, one in enumerate(found):
        expected = 0 if one is None else sum(score > between for score in one["scores"])
        got = None if one is None else _noted(moved, draw)
        expect(
            one is None or (got is not None and got["flagged"] == expected),
            f"expected {expected} flagged with {named.option} at {value:.4g}, got "
            f"{'nothing' if got is None else got['flagged']}; correct threshold_option",
        )


def every_model_and_the_first_period_will_do(subject: Subject) -> None:
    """It works on a candidate, champion and challenger, with earlier periods and without any."""
    case = CASES[0]
    if looks_back(subject.make()):
        _usable(subject, _context(subject, case, history=False))
    for about in _subjects(subject)[1:]:  # the first is that of all the other checks
        _usable(subject, _context(subject, case, about=about))


def what_it_remembers_is_given_and_handed_back(subject: Subject) -> None:
    """A class that `remembers` returns a state, and works on with it: the same result from the same state."""
    if not subject.make().remembers:
        raise Inapplicable("it does not remember")
    for case in CASES:
        first = _usable(subject, _context(subject, case))
        if first is None:  # it does not apply
            continue
        expect(
            first.state is not None,
            "expected state in the result of a class that remembers, got None; return one, or set remembers = False",
        )
        memory = Memory()
        memory.write("checked", first.state or State(), PERIOD)
        contexts = [_context(subject, case, state=read_again(memory).of("checked")) for _ in range(2)]
        expect(
            same(_call(subject, contexts[0]), _call(subject, contexts[1])),
            "expected the same result from the same state, got another",
        )


def _subjects(subject: Subject) -> tuple[About, ...]:
    members: dict[Surface, tuple[About, ...]] = {
        "filter": ("champion", "candidate"),
        "training": ("champion", "candidate"),
        "inspector": ("candidate", "champion", "challenger"),
        "screen": ("champion",),
    }
    return members.get(subject.make().surface, ("candidate",))


def _context(
    subject: Subject,
    case: Case,
    *,
    rows: int = _ROWS,
    trusted: int = _ROWS,
    about: About | None = None,
    history: bool = True,
    state: State | None = None,
    draw: int = 0,
) -> Context:
    defense = subject.make()
    about = about or _subjects(subject)[0]
    shown = defense.surface in ("filter", "training", "repair") or (
        defense.surface == "inspector" and about == "candidate"
    )
    images = images_of(case, rows, seed=7 + 100 * draw)
    window = Rows(images, labels_of(case, rows), torch.full((rows,), PERIOD), torch.ones(rows, dtype=torch.bool))
    return Context(
        model=model_of(case),
        feature_layer="5",
        classes=case.classes,
        device=torch.device("cpu"),
        trusted=Rows(images_of(case, trusted, seed=8), labels_of(case, trusted)),
        generator=stream(),
        window=window if shown else None,
        incoming=images if defense.surface == "screen" else None,
        period=PERIOD,
        subject=about,
        recipe=_recipe(rows) if defense.surface == "training" else None,
        history=history_for(case, defense) if history and looks_back(defense) else History(),
        state=state or State(),
    )


def _noted(subject: Subject, draw: int) -> dict[str, Any] | None:
    """Return what calibration would note of a call in which class 0 is odd, the more so the higher `draw` is.

    Some rows have its label instead of theirs, and the model prefers it. None: the defense does not apply.
    """
    defense, context = subject.make(), _context(subject, CASES[0], rows=_MANY, draw=draw)
    with torch.no_grad():
        context.model.state_dict()[f"{context.feature_layer}.weight"][0] *= 1 + 0.5 * draw
    if context.window is not None:
        context.window.labels[: 30 * draw] = 0
    try:
        result = getattr(defense, METHODS[defense.surface])(context)
        return noted(defense.threshold_option, result, getattr(defense, defense.threshold_option.option, None))
    except DoesNotApply:
        return None
    except Unusable as error:
        raise Failed(str(error)) from error


def _recipe(rows: int) -> Recipe:
    """An epoch of the platform's own optimizer at a constant rate."""
    return recipe_of(RecipeFacts.of(Phase(epochs=1, batch=32), max(rows, 2)))


def _call(subject: Subject, context: Context) -> Any:
    defense = subject.make()
    try:
        return getattr(defense, METHODS[defense.surface])(context)
    except DoesNotApply:
        return None


def _usable(subject: Subject, context: Context) -> DefenseRun | None:
    """Check a result as the platform does, and return it; None where the defense does not apply."""
    weights = weights_of(context.model)
    result = _call(subject, context)
    if result is None:
        return None
    defense = subject.make()
    outcome = Outcome(surface=defense.surface, name="checked", status="failed", reason="")
    seen = context.incoming if context.window is None else context.window.labels
    rows = 0 if seen is None else len(seen)
    try:
        return read_result(result, outcome, rows, weights, classes=context.classes, remembers=defense.remembers)
    except Unusable as error:
        raise Failed(str(error)) from error
