"""Checks of drifts: none in period 0, no change at magnitude 0, and valid images always."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulator.checks.material import CASES, Case, images_of, stream
from simulator.checks.subject import Subject, expect, quiet, same, unchanged
from simulator.world.drift import Drift

_PERIODS = range(8)


def fits_some_images(subject: Subject) -> None:
    """`check_fits` accepts images of some shape, and refuses others with `ValueError`."""
    expect(bool(_cases(subject)), f"expected {CASES[0]} or {CASES[1]} to fit, got neither")


def starts_at_nothing(subject: Subject) -> None:
    """The magnitude is a finite number in every period, the same when asked again, and 0 in period 0."""
    drift: Drift = subject.make()
    magnitudes = [drift.magnitude(period) for period in _PERIODS]
    expect(all(map(math.isfinite, magnitudes)), f"expected finite magnitudes, got {magnitudes}")
    expect(magnitudes[0] == 0, f"expected magnitude 0 in period 0 by default, got {magnitudes[0]}")
    expect(
        magnitudes == [drift.magnitude(period) for period in _PERIODS], "expected the same magnitudes when asked again"
    )


def magnitude_0_is_no_change(subject: Subject) -> None:
    """At magnitude 0 images and class shares do not change; a drift that `resamples` changes images alone."""
    for case in _cases(subject):
        drift: Drift = subject.make()
        if not drift.resamples:
            images = images_of(case, 20)
            expect(same(drift.change(images, 0.0, stream()), images), "expected no change at magnitude 0, got one")
            applied = drift.apply(images.clone(), 0.0, stream())
            close = bool(torch.allclose(applied, images, atol=1e-5))
            expect(close, "expected `apply` at magnitude 0 to be the identity, got a change")
        prior = drift.prior(_shares(case.classes), 0.0)
        kept = prior is None or bool(torch.allclose(prior, _shares(case.classes)))
        expect(kept, "expected class shares to stay at magnitude 0, got a change")


def images_stay_images(subject: Subject) -> None:
    """Shapes, dtypes and devices stay, pixels stay finite and in [0, 1]; the given images are not changed."""
    for case in _cases(subject):
        drift: Drift = subject.make()
        images = images_of(case, 20)
        for period in _PERIODS:
            magnitude = drift.magnitude(period)
            applied = quiet(lambda: drift.apply(images.clone(), magnitude, stream()))  # noqa: B023
            kind, found_kind = _kind(images), _kind(applied)
            expect(found_kind == kind, f"expected `apply` to return {kind}, got {found_kind}")
            found = unchanged(lambda: drift.change(images, magnitude, stream()), images=images)  # noqa: B023
            low, high = float(found.min()), float(found.max())
            expect(low >= 0 and high <= 1, f"expected pixels in [0, 1], got {low} to {high}")


def same_generator_same_images(subject: Subject) -> None:
    """The same generator gives the same images."""
    drift: Drift = subject.make()
    for case in _cases(subject):
        images, magnitude = images_of(case, 20), drift.magnitude(3)
        first, second = (drift.change(images, magnitude, stream()) for _ in range(2))
        expect(same(first, second), "expected the same images from the same generator, got others")


def prior_is_a_distribution(subject: Subject) -> None:
    """Drifted class shares are at least 0 and sum to 1."""
    for case in _cases(subject):
        drift: Drift = subject.make()
        shares = _shares(case.classes)
        for period in _PERIODS:
            found = unchanged(lambda: drift.prior(shares, drift.magnitude(period)), shares=shares)  # noqa: B023
            if found is None:
                continue
            valid = found.shape == shares.shape and bool((found >= 0).all()) and abs(float(found.sum()) - 1) < 1e-6
            expect(valid, f"expected {case.classes} shares that sum to 1, got {found.tolist()}")


def _cases(subject: Subject) -> list[Case]:
    return [case for case in CASES if _fits(subject.make(), case)]


def _fits(drift: Drift, case: Case) -> bool:
    try:
        drift.check_fits(case.shape, case.classes)
    except ValueError:
        return False
    return True


def _kind(images: Tensor) -> str:
    return f"{images.dtype} {tuple(images.shape)} on {images.device}"


def _shares(classes: int) -> Tensor:
    return torch.full((classes,), 1 / classes, dtype=torch.float64)
