"""Forward passes that the probes of one view share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from simulator.observer.probes.base import ProbeView
from simulator.production.training.evaluate import logits
from simulator.records import Reading

__all__ = [
    "NOT_FINITE",
    "NO_ATTACK",
    "NO_SCREEN",
    "finite",
    "refused",
    "stamped_logits",
    "undefined",
    "unstamped_logits",
]

NO_ATTACK = "the scenario has no attack"
NO_SCREEN = "no screen guards serving"
NOT_FINITE = "the model's outputs are not finite numbers"


def unstamped_logits(view: ProbeView) -> Tensor:
    """Return the logits float32 (N, classes) of the unstamped test images, computed once per view."""
    return _once(view, "unstamped", lambda: logits(view.model, view.test.images))


def stamped_logits(view: ProbeView) -> Tensor:
    """Return the logits float32 (N, classes) of the fully stamped test images, computed once per view."""
    stamped = view.stamped
    if stamped is None:
        raise ValueError("expected a view with an attack, got one without; check `view.stamped` first")
    return _once(view, "stamped", lambda: logits(view.model, stamped(1.0)))


def refused(view: ProbeView, images: Tensor) -> Tensor | None:
    """Return which of `images` the screens refuse, bool (N,) beside the labels; None without screens."""
    return None if view.screen is None else view.screen(images).to(view.test.labels.device)


def finite(*values: Tensor) -> bool:
    """Return whether all values are finite numbers."""
    return all(bool(torch.isfinite(value).all()) for value in values)


def undefined(names: Iterable[str], reason: str) -> dict[str, Reading]:
    """Return an undefined reading for each name."""
    return {name: Reading.undefined(reason) for name in names}


def _once(view: ProbeView, name: str, compute: Callable[[], Tensor]) -> Tensor:
    if name not in view.shared:
        view.shared[name] = compute()
    return view.shared[name]
