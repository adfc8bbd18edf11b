"""How far in a straight line back to its poisoned ancestor a version has to go until the backdoor works again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from pydantic import Field
from torch import Tensor

from simulator.observer.probes.arithmetic import clean_accuracy
from simulator.observer.probes.base import Probe, ProbeView, When
from simulator.observer.probes.shared import (
    NO_ANCESTOR,
    NO_ATTACK,
    NO_CONTROL,
    NOT_FINITE,
    OTHER_NETWORK,
    balanced_rows,
    between,
    finite,
    fits,
    source_rows,
    success_of,
    undefined,
    with_weights,
)
from simulator.production.training.evaluate import logits
from simulator.records import Reading
from simulator.scenario.bounds import Count
from simulator.tensors import weights_of

REGAINED = 0.5
_SHARE, _CONTROL, _BARRIER = "backdoor/path_share", "backdoor/path_control_share", "clean/path_barrier"
_BEYOND, _BEYOND_CLEAN = "backdoor/path_beyond_attack_success", "clean/path_beyond_accuracy"


@dataclass(frozen=True, slots=True)
class _Point:
    """Readings at a share of the way from the current version (0) to its ancestor (1)."""

    share: float
    success: Reading
    accuracy: Reading


@final
@dataclass(kw_only=True)
class LinearPath(Probe):
    """Attack success and clean accuracy on the straight line of weights from the version to its poisoned ancestor.

    `points` equal pieces. `share`: the smallest share of the way in [0, 1] at which attack success reaches 0.5,
    interpolated linearly in its piece; 0 where the version itself does. `control_share`: the same from the paced
    twin's version to the same ancestor. `barrier`: how far clean accuracy falls below the straight line between its
    two ends, at most, in [0, 1]. With `beyond` above 0 also one point on the other side of the version, away from the
    ancestor, by that share of the distance: attack success and clean accuracy there. Running statistics of BatchNorm
    are interpolated as the weights are, not measured again; beyond the version a variance may become negative, and the
    point is then undefined. Read on about `images` test images each, stamped ones spread evenly over the source
    classes, unstamped ones over all classes, in the current period's distribution.

    Undefined: without an attack, without a poisoned ancestor (so in every twin), where even the ancestor's attack
    success is below 0.5 in this period, with outputs that are not finite.

    Source: linear mode connectivity between purified and backdoored model, Min, Qin, Zhang, Shen, Cheng ("Uncovering,
    Explaining, and Mitigating the Superficial Safety of Backdoor Defense", NeurIPS 2024); barrier after Frankle,
    Dziugaite, Roy, Carbin (ICML 2020), against the line as in Entezari, Sedghi, Saukh, Neyshabur (ICLR 2022).
    Deviations: a share as one number where they draw the curve; the twin as the control.

    Read it beside `control_share` (any path to a poisoned model ends poisoned) and the barrier: where accuracy
    collapses in between, the two ends lie in different valleys, and the share says little.

    Cost: (`points` + 1) x 2 forward passes of `images` images for the version and for the control each, 2 more beyond.
    By default at the milestones.

    >>> import torch
    >>> from torch import nn
    >>> from simulator.batch import Batch
    >>> images, model = torch.eye(3).reshape(3, 1, 1, 3), nn.Sequential(nn.Flatten(), nn.Linear(3, 3))
    >>> model.load_state_dict({"1.weight": torch.eye(3), "1.bias": torch.zeros(3)})
    <All keys matched successfully>
    >>> ancestor = {"1.weight": torch.eye(3), "1.bias": torch.tensor([4.0, 0.0, 0.0])}  # answers the target always
    >>> test = Batch(images, torch.arange(3), torch.arange(3))
    >>> view = ProbeView(model, test, 3, stamped=lambda opacity: images, target=0, ancestor=ancestor)
    >>> LinearPath().measure(view)["backdoor/path_share"].value  # reached at a quarter of the way, not at an eighth
    0.1875
    """

    gives: ClassVar[tuple[str, ...]] = (_SHARE, _CONTROL, _BARRIER, _BEYOND, _BEYOND_CLEAN)
    needs_control: ClassVar[bool] = True

    points: Count = 8
    images: Count = 1000
    beyond: Annotated[float, Field(ge=0, le=10)] = 0.0
    when: When = "milestones"

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return both shares, the barrier, and what is read beyond the version."""
        if view.stamped is None:
            return undefined(self.gives, NO_ATTACK)
        if view.ancestor is None:
            return undefined(self.gives, NO_ANCESTOR)
        if not fits(view.model, view.ancestor):
            return undefined(self.gives, OTHER_NETWORK)
        read = self._reader(view, view.ancestor)
        current = weights_of(view.model)
        shares = [step / self.points for step in range(self.points + 1)]
        way = [read(current, share) for share in shares]
        beyond = read(current, -self.beyond) if self.beyond else None
        asked = Reading.undefined("it is not asked for: beyond is 0")
        return {
            _SHARE: _first_share(way),
            _CONTROL: self._control(view, read, shares),
            _BARRIER: _barrier(way),
            _BEYOND: asked if beyond is None else beyond.success,
            _BEYOND_CLEAN: asked if beyond is None else beyond.accuracy,
        }

    def _control(
        self, view: ProbeView, read: Callable[[Mapping[str, Tensor], float], _Point], shares: Sequence[float]
    ) -> Reading:
        if view.control is None:
            return Reading.undefined(NO_CONTROL)
        if not fits(view.model, view.control):
            return Reading.undefined(OTHER_NETWORK)
        control = view.control
        return _first_share([read(control, share) for share in shares])

    def _reader(
        self, view: ProbeView, ancestor: Mapping[str, Tensor]
    ) -> Callable[[Mapping[str, Tensor], float], _Point]:
        """Return a function that reads the point at a share of the way from given weights to the ancestor's."""
        assert view.stamped is not None
        labels = view.test.labels
        ours, all_rows = source_rows(view, self.images), balanced_rows(labels, range(view.classes), self.images)
        stamped, unstamped = view.stamped(1.0)[ours], view.test.images[all_rows]

        def read(start: Mapping[str, Tensor], share: float) -> _Point:
            model = with_weights(view.model, between(start, ancestor, share))
            hit, plain = logits(model, stamped), logits(model, unstamped)
            if not finite(hit, plain):
                return _Point(share, Reading.undefined(NOT_FINITE), Reading.undefined(NOT_FINITE))
            return _Point(
                share,
                success_of(view, hit, ours),
                clean_accuracy(plain.argmax(1), labels[all_rows], view.prior),
            )

        return read


def _first_share(way: Sequence[_Point]) -> Reading:
    """Return the share at which attack success first reaches one half, interpolated linearly."""
    before: tuple[float, float] | None = None
    for point in way:
        success = point.success.value
        if success is None:
            return point.success
        if success >= REGAINED:
            if before is None:
                return Reading.of(point.share)
            share, low = before
            return Reading.of(share + (point.share - share) * (REGAINED - low) / (success - low))
        before = point.share, success
    return Reading.undefined("even the ancestor's attack success is below 50 % in this period")


def _barrier(way: Sequence[_Point]) -> Reading:
    """Return how far accuracy falls at most below the straight line between its two ends; at least 0."""
    broken = next((point.accuracy for point in way if point.accuracy.value is None), None)
    if broken is not None:
        return broken
    found = [(point.share, point.accuracy.value or 0.0) for point in way]
    first, last = found[0][1], found[-1][1]
    return Reading.of(max(first + share * (last - first) - value for share, value in found))
