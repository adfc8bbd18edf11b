"""Defenses, by surface: results of the right shape, from the context alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from defenses.base import Context, DoesNotApply, FilterResult, InspectorResult, RepairResult, Rows, ScreenResult
from simulator.checks.material import CASES, Case, images_of, labels_of, model_of, stream
from simulator.checks.subject import Subject, expect, same, unchanged

__all__ = ["CHECKS"]

_ROWS = 120
_METHODS = {"filter": "filter", "repair": "repair", "inspector": "inspect", "screen": "screen"}


def result_fits_its_surface(subject: Subject) -> None:
    """The result is its surface's, with the right shapes and number types, finite, and its evidence is JSON."""
    for case in CASES:
        context = _context(subject, case)
        result = _call(subject, context)
        if result is None:
            continue
        _expect_evidence(result.evidence)
        surface = subject.make().surface
        {"filter": _filter, "repair": _repair, "inspector": _inspector, "screen": _screen}[surface](result, case)


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
    """With no trusted images it works or raises `DoesNotApply`; in the latter case it declares `needs_trusted`."""
    defense = subject.make()
    for case in CASES:
        works = _call(subject, _context(subject, case, trusted=0)) is not None
        unusable = not works and _call(subject, _context(subject, case)) is not None
        expect(
            defense.needs_trusted or not unusable,
            "expected needs_trusted = True, as it does nothing without, got False",
        )


def few_rows_do_no_harm(subject: Subject) -> None:
    """With one row of each it gives a result of the right shape, or raises `DoesNotApply`."""
    for case in CASES:
        result = _call(subject, _context(subject, case, rows=1, trusted=1))
        if isinstance(result, FilterResult):
            expect(result.keep.shape == (1,), f"expected keep of shape (1,), got {tuple(result.keep.shape)}")
        if isinstance(result, ScreenResult):
            expect(result.flagged.shape == (1,), f"expected flagged of shape (1,), got {tuple(result.flagged.shape)}")


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
        return getattr(defense, _METHODS[defense.surface])(context)
    except DoesNotApply:
        return None


def _expect_evidence(evidence: Any) -> None:
    try:
        json.dumps(dict(evidence), allow_nan=False)
    except (TypeError, ValueError) as error:
        expect(False, f"expected evidence to hold finite JSON values, got {error}")


def _expect_type(result: Any, kind: type) -> None:
    expect(isinstance(result, kind), f"expected a {kind.__name__}, got {type(result).__name__}")


def _expect_mask(mask: Tensor, scores: Tensor | None, name: str) -> None:
    fits = mask.dtype == torch.bool and mask.shape == (_ROWS,)
    expect(fits, f"expected {name} to be bool ({_ROWS},), got {mask.dtype} {tuple(mask.shape)}")
    if scores is not None:
        fits = scores.shape == (_ROWS,) and scores.is_floating_point() and bool(scores.isfinite().all())
        expect(fits, f"expected scores to be finite numbers ({_ROWS},), got {scores.dtype} {tuple(scores.shape)}")


def _filter(result: Any, case: Case) -> None:
    _expect_type(result, FilterResult)
    _expect_mask(result.keep, result.scores, "keep")
    expect(bool(result.keep.any()), "expected some row to be kept, got none")


def _repair(result: Any, case: Case) -> None:
    _expect_type(result, RepairResult)
    found, given = _shapes(result.model), _shapes(model_of(case))
    expect(found == given, "expected the architecture it was given, got other weights; keep their names and shapes")
    finite = all(bool(value.isfinite().all()) for value in result.model.state_dict().values())
    expect(finite, "expected finite weights, got others")


def _inspector(result: Any, case: Case) -> None:
    _expect_type(result, InspectorResult)
    expect(isinstance(result.flagged, bool), f"expected flagged to be a bool, got {type(result.flagged).__name__}")
    for name in ("score", "threshold"):
        value = getattr(result, name)
        finite = isinstance(value, float | int) and math.isfinite(value)
        expect(finite, f"expected {name} to be a finite number, got {value!r}")


def _screen(result: Any, case: Case) -> None:
    _expect_type(result, ScreenResult)
    _expect_mask(result.flagged, result.scores, "flagged")


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


CHECKS: tuple[Callable[[Subject], None], ...] = (
    result_fits_its_surface,
    same_seed_same_result,
    inputs_are_left_alone,
    need_of_trusted_images_is_declared,
    few_rows_do_no_harm,
)
