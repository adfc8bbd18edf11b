"""Whether a version still responds to the trigger inside as its poisoned ancestor did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, ClassVar, final

from pydantic import Field
from torch import Tensor

from simulator.observer.probes.activations import activation_change, activations
from simulator.observer.probes.base import Probe, ProbeView, When
from simulator.observer.probes.shared import (
    NO_ANCESTOR,
    NO_ATTACK,
    NO_CONTROL,
    NOT_FINITE,
    OTHER_NETWORK,
    finite,
    fits,
    source_rows,
    undefined,
    with_weights,
)
from simulator.records import Reading
from simulator.scenario.bounds import PositiveShare

_RESCALED, _RAW, _FLOOR = "backdoor/existence", "backdoor/existence_raw", "backdoor/existence_floor"
_TOO_ALIKE = 1e-6


@final
@dataclass(kw_only=True)
class Existence(Probe):
    """Backdoor existence coefficient: how alike the activations of a version and its poisoned ancestor are.

    In each convolution of the ancestor, channels are ranked by trigger activation change: the Euclidean norm of
    (stamped minus unstamped) output, averaged over about `images` test images spread evenly over the source classes.
    `raw`: linear CKA in [0, 1] between ancestor and version on the stamped images, over the top channels of a layer,
    averaged over layers, then over `shares` of the channels (at least one channel). `floor`: the same between
    ancestor and paced twin, which never saw the trigger. `existence`: (raw - floor) / (1 - floor), at most 1: 0 like
    the twin, 1 like the ancestor, negative when less alike than the twin. A layer whose channels are constant in the
    version counts as 0; one whose channels are constant in the ancestor is left out.

    Undefined: without an attack, without a poisoned ancestor (so in every twin), in a network without convolutions,
    with values that are not finite. `floor` and `existence` also without a paced twin, or when the twin is as alike as
    the ancestor itself; then read `raw`, which has no natural zero.

    Source: Zhu, Liang, Wu ("Breaking the False Sense of Security in Backdoor Defense through Re-Activation Attack",
    NeurIPS 2024); linear CKA of Kornblith, Norouzi, Lee, Hinton (ICML 2019); trigger activation change of Zheng,
    Tang, Li, Liu (ECCV 2022). Deviations: one mean over the shares 5, 10 and 20 % where they report each; the floor
    is the twin of the same age, which lagged and drifted alike, where they take one clean model.

    Read it beside attack success: the published finding is that it stays high while attack success is near 0.

    Cost: 5 forward passes of `images` images, and for each layer, share and model a matrix of `images` x `images`. By
    default at the milestones.

    >>> import torch
    >>> from torch import nn
    >>> from simulator.batch import Batch
    >>> images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> test = Batch(images, torch.arange(6) % 3, torch.arange(6))
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3)).eval()
    >>> same = {name: value.clone() for name, value in model.state_dict().items()}
    >>> view = ProbeView(model, test, 3, stamped=lambda opacity: 1 - images, target=0, ancestor=same)
    >>> round(Existence(images=6).measure(view)["backdoor/existence_raw"].value, 6)  # the ancestor itself
    1.0
    """

    gives: ClassVar[tuple[str, ...]] = (_RESCALED, _RAW, _FLOOR)
    needs_control: ClassVar[bool] = True

    images: Annotated[int, Field(ge=2)] = 500
    shares: Annotated[tuple[PositiveShare, ...], Field(min_length=1)] = (0.05, 0.1, 0.2)
    when: When = "milestones"

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return the rescaled coefficient, the raw one, and the twin's."""
        if view.stamped is None:
            return undefined(self.gives, NO_ATTACK)
        if view.ancestor is None:
            return undefined(self.gives, NO_ANCESTOR)
        if not fits(view.model, view.ancestor):
            return undefined(self.gives, OTHER_NETWORK)
        rows = source_rows(view, self.images)
        stamped = view.stamped(1.0)[rows]
        ancestor = with_weights(view.model, view.ancestor)
        change = activation_change(ancestor, view.test.images[rows], stamped)
        if not change:
            return undefined(self.gives, "the network has no convolution")
        top = {name: self._ranked(values) for name, values in change.items()}
        first = activations(ancestor, stamped, top)
        raw = self._alike(first, activations(view.model, stamped, top), change)
        if view.control is None or not fits(view.model, view.control):
            floor = Reading.undefined(NO_CONTROL if view.control is None else OTHER_NETWORK)
        else:
            floor = self._alike(first, activations(with_weights(view.model, view.control), stamped, top), change)
        return {_RESCALED: _rescaled(raw, floor), _RAW: raw, _FLOOR: floor}

    def _ranked(self, change: Tensor) -> Tensor:
        """Return the channels that the largest share takes, most changed first."""
        return change.argsort(descending=True, stable=True)[: _count(max(self.shares), len(change))]

    def _alike(
        self, ancestor: Mapping[str, Tensor], other: Mapping[str, Tensor], change: Mapping[str, Tensor]
    ) -> Reading:
        if not finite(*ancestor.values(), *other.values()):
            return Reading.undefined(NOT_FINITE)
        by_share = [
            [_layer(ancestor[name], other[name], share, len(change[name])) for name in ancestor]
            for share in self.shares
        ]
        found = [[value for value in values if value is not None] for values in by_share]
        if not all(found):
            return Reading.undefined("the ancestor's channels answer every stamped image alike")
        return Reading.of(fmean(fmean(values) for values in found))


def linear_cka(features: Tensor, others: Tensor) -> float | None:
    """Return linear centred kernel alignment in [0, 1] of `features` (N, P) and `others` (N, Q), rows alike.

    Computed from the matrices of inner products (N, N). 0 when `others` do not vary; None when `features` do not.
    """
    one, two = (_centred_products(values) for values in (features, others))
    sizes = float(one.norm()), float(two.norm())
    if sizes[0] == 0:
        return None
    return 0.0 if sizes[1] == 0 else min(1.0, max(0.0, float((one * two).sum()) / (sizes[0] * sizes[1])))


def _layer(ancestor: Tensor, other: Tensor, share: float, channels: int) -> float | None:
    """Return how alike two models are in the top `share` of a layer's channels, given in the order of their rank."""
    count = _count(share, channels)
    return linear_cka(ancestor[:, :count].flatten(1), other[:, :count].flatten(1))


def _centred_products(values: Tensor) -> Tensor:
    exact = values.double()
    centred = exact - exact.mean(0)
    return centred @ centred.T


def _count(share: float, channels: int) -> int:
    return max(1, math.floor(share * channels + 0.5))


def _rescaled(raw: Reading, floor: Reading) -> Reading:
    if raw.value is None or floor.value is None:
        return raw if raw.value is None else floor
    if floor.value > 1 - _TOO_ALIKE:
        return Reading.undefined("the twin is as alike as the ancestor itself")
    return Reading.of((raw.value - floor.value) / (1 - floor.value))
