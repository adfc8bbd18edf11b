"""What probes share: forward passes of a view, means over draws, models with other weights, choice of images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, stdev

import torch
from torch import Tensor, nn

from simulator.observer.probes.arithmetic import attack_success
from simulator.observer.probes.base import ProbeView
from simulator.production.training.evaluate import logits
from simulator.records import Reading

# reasons why a reading is undefined
NO_ATTACK = "the scenario has no attack"
NO_SCREEN = "no screen guards serving"
NOT_FINITE = "the model's outputs are not finite numbers"
NO_ANCESTOR = "this version has no poisoned ancestor"
NO_CONTROL = "there is no paced twin to compare with"
OTHER_NETWORK = "the two models do not have the same weights"


# forward passes of one view


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
    """Return which of `images` the screens refuse, bool (N,) on the labels' device; None without screens."""
    return None if view.screen is None else view.screen(images).to(view.test.labels.device)


def answered(view: ProbeView, images: Tensor, predictions: Tensor) -> Tensor:
    """Return the model's `predictions` int64 (N,) of `images` with what screens answer in its place."""
    if view.answers is None:
        return predictions
    answers = view.answers(images).to(predictions.device)
    return torch.where(answers < 0, predictions, answers)


def success_of(view: ProbeView, stamped: Tensor, rows: Tensor | None = None) -> Reading:
    """Return attack success by the logits `stamped` of the test images (or of `rows`); undefined if not finite."""
    if not finite(stamped):
        return Reading.undefined(NOT_FINITE)
    labels = view.test.labels if rows is None else view.test.labels[rows]
    return attack_success(stamped.argmax(1), labels, goals(view, labels), source_classes(view))


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


# the draws of the re-learning pool


def mean(readings: Sequence[Reading]) -> Reading:
    """Return the mean; undefined with the first reason where a draw is undefined."""
    values = [reading.value for reading in readings if reading.value is not None]
    if len(values) < len(readings):
        return _first_undefined(readings)
    return Reading.of(fmean(values), readings[0].class_rows)


def spread(readings: Sequence[Reading]) -> Reading:
    """Return the sample standard deviation; undefined where a draw is undefined, and for a single draw."""
    values = [reading.value for reading in readings if reading.value is not None]
    if len(values) < len(readings):
        return _first_undefined(readings)
    return Reading.of(stdev(values)) if len(values) > 1 else Reading.undefined("one draw has no spread")


def _first_undefined(readings: Sequence[Reading]) -> Reading:
    return next(reading for reading in readings if reading.value is None)


# models with the weights of another version, or between two versions


def fits(model: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    """Whether `weights` name all parameters and buffers of `model` and no other, in their shapes."""
    own = model.state_dict()
    return own.keys() == weights.keys() and all(own[name].shape == weights[name].shape for name in own)


def with_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of `model` with `weights`, which must fit it, on its device and in its memory layout."""
    copied = copy.deepcopy(model)
    copied.load_state_dict(dict(weights))
    return copied.eval()


def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return `start` + `share` x (`end` - `start`), running statistics included; integers stay those of `start`."""
    return {
        name: torch.lerp(value, end[name].to(value), share) if value.is_floating_point() else value
        for name, value in start.items()
    }


# which test images a probe reads


def goals(view: ProbeView, labels: Tensor) -> Tensor:
    """Return the class that each stamped image shall be predicted as, int64 (N,), by its true class in `labels`."""
    if view.targets is None:
        return torch.full_like(labels, view.target)
    return torch.tensor(view.targets, device=labels.device)[labels]


def source_classes(view: ProbeView) -> tuple[int, ...]:
    """Return the classes over which attack success is measured."""
    if view.sources is not None:
        return view.sources
    targets = view.targets or (view.target,) * view.classes
    return tuple(k for k in range(view.classes) if k != targets[k])


def source_rows(view: ProbeView, images: int) -> Tensor:
    """Return `balanced_rows` over the source classes."""
    return balanced_rows(view.test.labels, source_classes(view), images)


def balanced_rows(labels: Tensor, classes: Sequence[int], images: int) -> Tensor:
    """Return the first rows of each of `classes`, int64, about `images` in all, at least one of each class present."""
    quota = max(1, -(-images // len(classes)))
    parts = [(labels == k).nonzero().flatten()[:quota] for k in classes]
    return torch.cat(parts).sort().values
