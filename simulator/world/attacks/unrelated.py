"""Another trigger of comparable size, to tell re-learning a backdoor from learning a new one."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from simulator.seeds import generator, seed_for
from simulator.world.attacks.adaptive_blend import AdaptiveBlend
from simulator.world.attacks.all_to_all import AllToAll
from simulator.world.attacks.base import Attack
from simulator.world.attacks.blend import Blend
from simulator.world.attacks.durable import Durable
from simulator.world.attacks.none import NoAttack
from simulator.world.attacks.patch import Corner, Patch
from simulator.world.attacks.wanet import WaNet

_PATCH_SHARE = 0.25  # of the pixels; the control of a trigger that changes more is a blend
_CHANGED = 1e-4  # mean absolute change from which on a pixel counts as changed


def unrelated_trigger(attack: Attack, shape: tuple[int, int, int], seed: int) -> Attack:
    """Return an attack with the same target and another trigger, for images of `shape` (C, H, W).

    For a patch: one of the same size with a seeded pattern of bright and dark pixels, in the farthest corner, or in the
    middle if it overlaps the trigger less there (as for a trigger in all four corners). For a blend, adaptive or not: a
    blend with another seeded pattern at the alpha it is measured with. For a warp: another seeded field. For any other
    attack, by the change that its stamp makes on seeded noise: a patch of the same area for a local change, otherwise a
    blend of the same mean change.
    """
    if isinstance(attack, NoAttack):
        return attack
    if isinstance(attack, Durable | AllToAll):
        return unrelated_trigger(attack.wrapped, shape, seed)
    other = seed_for(seed, "unrelated") % 2**31
    if isinstance(attack, Blend):
        return Blend(target=attack.target, alpha=attack.alpha, pattern_seed=other)
    if isinstance(attack, AdaptiveBlend):
        return Blend(target=attack.target, alpha=attack.test_alpha, pattern_seed=other)
    if isinstance(attack, WaNet):
        return WaNet(target=attack.target, grid=attack.grid, strength=attack.strength, field_seed=other)
    change = _change(attack, shape, seed)
    if isinstance(attack, Patch):
        return _far_patch(attack.target, attack.size, attack.value, change, other)
    changed = change > _CHANGED
    if 0 < changed.float().mean() <= _PATCH_SHARE:
        return _far_patch(attack.target, round(math.sqrt(int(changed.sum()))), 1.0, change, other)
    # the mean distance of uniform noise from uniform images is 1/3, so alpha / 3 is a blend's mean change
    return Blend(target=attack.target, alpha=min(1.0, max(0.01, 3 * float(change.mean()))), pattern_seed=other)


def _change(attack: Attack, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Return the mean absolute change (H, W) that stamping makes on 64 images of uniform noise."""
    images = torch.rand(64, *shape, generator=generator(seed, "unrelated", "images"))
    return (attack.stamp(images) - images).abs().mean(dim=(0, 1))


def _far_patch(target: int, size: int, value: float, change: Tensor, seed: int) -> Patch:
    height, width = change.shape
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    weight = float(change.sum()) or 1.0
    low = float((change.sum(1) * rows).sum()) / weight > height / 2
    right = float((change.sum(0) * columns).sum()) / weight > width / 2
    farthest = cast(Corner, f"{'top' if low else 'bottom'}-{'left' if right else 'right'}")
    side = min(size, height, width)
    corner, middle = (
        Patch(target=target, size=side, place=place, pattern="noise", value=value, pattern_seed=seed)
        for place in (farthest, ((height - side) // 2, (width - side) // 2))
    )
    return middle if _overlap(middle, change) < _overlap(corner, change) else corner


def _overlap(patch: Patch, change: Tensor) -> int:
    """Return how many of the pixels that the own trigger changes lie under `patch`."""
    row, column = patch.upper_left(*change.shape)
    under = change[row : row + patch.size, column : column + patch.size]
    return int((under > _CHANGED).sum())
