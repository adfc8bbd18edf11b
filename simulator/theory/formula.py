"""How much of a backdoor an update should leave: a formula that is exact for a linear model with squared loss.

Let u be the unit trigger direction, s^2 the clean energy along it, lambda the weight decay and eta_t the learning rate
of step t. Gradient descent on clean data multiplies the trigger weight a = u'w in each step by 1 - eta_t (s^2 +
lambda), where u is an eigenvector of the clean second moments and clean labels do not depend on u'x (`tests/theory`
simulates it). So what counts is rate x steps x energy; the strength planted counts by its logarithm only; and a trigger
that clean data never excite is forgotten through weight decay alone.

Where it fails. A deep network has features, not pixels: they move during training, and a non-linear one answers a
trigger that pixels along u do not excite, or the reverse. BatchNorm makes the function independent of the scale of the
weights before it, so that weight decay there shrinks nothing but raises the effective rate. A cross-entropy that is
nearly solved has small gradients, and forgets more slowly than squared loss. Where several directions of the data
are mixed in u, each decays at its own rate, and the slowest remains. Attack success is a step-like function of the
trigger weight, with margins that a drift moves. AdamW divides each gradient by its own size: energy hardly counts.
Replayed poison and persistent poisoning feed the weight again. A blend over the whole image has far more energy than a
patch in a corner (6.0 against 0.14 on 2,000 images of Fashion-MNIST in [-1, 1]), so the formula has it forgotten first;
fine-tuning as published (CIFAR-10) removes the patch and keeps the blend. For deep timelines the figures are therefore
for *ranking* settings, to be held against what was measured; their absolute size means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor


def trigger_difference(images: Tensor, stamped: Tensor) -> Tensor:
    """Return the mean of `stamped` - `images` over the rows: float (C, H, W), the direction of the trigger.

    Both are (N, C, H, W), the same rows before and after stamping. For a trigger that changes each image in another way
    (a warp, a blend that depends on the image) the mean is only part of it, and for a warp next to nothing.
    """
    if images.shape != stamped.shape or images.ndim != 4 or not len(images):
        raise ValueError(
            f"expected images and stamped to have one shape (N, C, H, W), got {tuple(images.shape)} and "
            f"{tuple(stamped.shape)}; stamp the very same rows"
        )
    return (stamped - images).mean(dim=0)


def clean_energy(images: Tensor, difference: Tensor, *, centred: bool = True) -> float:
    """Return s^2: the mean squared projection of clean images on the unit vector along `difference`, at least 0.

    `images` are float (N, C, H, W), without a trigger, **scaled as the network sees them**: a network that maps
    [0, 1] to [-1, 1] sees four times the energy. `difference` is (C, H, W), of any length above 0. `centred` takes
    the mean image away first, as for a model with an intercept that has adapted; without it a constant border counts as
    energy, which it is until intercept and trigger weight have settled. Raises `ValueError` for shapes that differ, or
    no direction.
    """
    if images.ndim != 4 or not len(images) or images.shape[1:] != difference.shape:
        raise ValueError(
            f"expected images (N, C, H, W) and a difference (C, H, W), got {tuple(images.shape)} and "
            f"{tuple(difference.shape)}; take the difference of one stamped image"
        )
    direction = difference.double().flatten()
    length = float(direction.norm())
    if not (math.isfinite(length) and length > 0):
        raise ValueError(
            f"expected the trigger to have a direction, got a difference of length {length}; a trigger without a mean "
            "change has no clean energy"
        )
    rows = images.flatten(1).double()
    projected = (rows - rows.mean(dim=0) if centred else rows) @ (direction / length)
    return float(projected.square().mean())


def effective_rates(rates: Sequence[float], momentum: float) -> tuple[float, ...]:
    """Return the rates of plain gradient descent that go as far as `rates` with heavy-ball `momentum` in [0, 1).

    eta_t (1 - m^(t+1)) / (1 - m): eta / (1 - m) once the velocity has built up, for it starts at zero in every update
    (the optimizer is made anew). It holds while eta (s^2 + lambda) is far below (1 - m)^2; from (1 - sqrt(m))^2 on the
    velocity swings, and there is no such rate. Nesterov's variant differs in the first steps only.
    Raises `ValueError` for a momentum outside [0, 1).
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"expected momentum to be at least 0 and below 1, got {momentum}; correct it")
    return tuple(rate * (1 - momentum ** (step + 1)) / (1 - momentum) for step, rate in enumerate(rates))


def predicted_share(rates: Sequence[float], energy: float, decay: float) -> float:
    """Return the share of the trigger weight that one update leaves: the product of 1 - eta_t (s^2 + lambda).

    `rates` are the (effective) learning rates of all optimizer steps of the update, `energy` s^2, `decay` the weight
    decay that SGD adds to the gradient. 1 is no forgetting. A step with eta (s^2 + lambda) above 1 turns the sign,
    above 2 it enlarges the weight: gradient descent diverges along u, and the formula says nothing of a network that
    does not. Raises `ValueError` for a negative or infinite number.
    """
    return math.prod(1 - part for part in _parts(rates, energy, decay))


def predicted_updates(
    rates: Sequence[float], energy: float, decay: float, threshold: float, planted: float = 1.0
) -> float:
    """Return after how many updates like this one the trigger weight falls from `planted` to `threshold`.

    A real number, at least 0: ln(planted / threshold) / -ln |share|, whose fraction ranks settings that whole updates
    would tie; it is summed in logarithms, so a share too small for a float still ranks. `rates`, `energy` and `decay`
    are those of `predicted_share`. Infinite where |share| >= 1 (never), 0 where `planted` is at or below `threshold` or
    a step leaves nothing. Raises `ValueError` as `predicted_share` does, and unless both weights are finite and
    above 0.
    """
    if not (0 < threshold < math.inf and 0 < planted < math.inf):
        raise ValueError(
            f"expected threshold and planted to be finite and above 0, got {threshold} and {planted}; correct them"
        )
    parts = _parts(rates, energy, decay)
    if planted <= threshold or 1.0 in parts:
        return 0.0
    lost = -math.fsum(math.log1p(-part) if part < 1 else math.log(part - 1) for part in parts)
    return math.log(planted / threshold) / lost if lost > 0 else math.inf


def _parts(rates: Sequence[float], energy: float, decay: float) -> list[float]:
    """The share of the weight that each step takes away: eta_t (s^2 + lambda)."""
    for name, values in {"rates": rates, "energy": (energy,), "decay": (decay,)}.items():
        wrong = [value for value in values if not (math.isfinite(value) and value >= 0)]
        if wrong:
            raise ValueError(f"expected {name} to be finite and at least 0, got {wrong[0]}; correct it")
    return [rate * (energy + decay) for rate in rates]
