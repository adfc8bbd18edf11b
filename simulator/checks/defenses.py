"""Conformance checks of defenses: results of their surface's shape that depend on the context alone."""

from __future__ import annotations

from typing import Any

import torch

from defenses.base import Context, DoesNotApply, Rows
from simulator.checks.material import CASES, Case, images_of, labels_of, model_of, stream
from simulator.checks.subject import Failed, Subject, expect, same, unchanged
from simulator.production.defending.job import METHODS
from simulator.production.defending.results import read_result
from simulator.production.defending.unusable import Unusable
from simulator.records import Outcome
from simulator.tensors import weights_of

_ROWS = 120


def result_fits_its_surface(subject: Subject) -> None:
    """The platform can use the result: its surface's type, the right shapes, finite numbers, evidence that is JSON."""
    for case in CASES:
        _usable(subject, _context(subject, case))


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


def _context(subject: Subject, case: Case, *, rows: int = _ROWS, trusted: int = _ROWS) -> Context:
    surface = subject.make().surface
    images = images_of(case, rows, seed=7)
    return Context(
        model=model_of(case),
        feature_layer="5",
        classes=case.classes,
        device=torch.device("cpu"),
        trusted=Rows(images_of(case, trusted, seed=8), labels_of(case, trusted)),
        generator=stream(),
        window=Rows(images, labels_of(case, rows)) if surface == "filter" else None,
        incoming=images if surface == "screen" else None,
        period=1,
    )


def _call(subject: Subject, context: Context) -> Any:
    defense = subject.make()
    try:
        return getattr(defense, METHODS[defense.surface])(context)
    except DoesNotApply:
        return None


def _usable(subject: Subject, context: Context) -> None:
    """Check a result as the platform does."""
    weights = weights_of(context.model)
    result = _call(subject, context)
    if result is None:
        return
    outcome = Outcome(surface=subject.make().surface, name="checked", status="failed", reason="")
    seen = context.incoming if context.window is None else context.window.labels
    try:
        read_result(result, outcome, 0 if seen is None else len(seen), weights)
    except Unusable as error:
        raise Failed(str(error)) from error
