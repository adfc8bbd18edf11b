"""How little brings an erased backdoor back: the fewest poisoned images, and the fewest steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from simulator.observer.probes.base import Probe, ProbeView, Relearner, When
from simulator.observer.probes.shared import NO_ATTACK, mean, source_rows, success_of, undefined
from simulator.production.training.evaluate import logits
from simulator.records import Reading
from simulator.scenario.bounds import Count, Positive

REGAINED = 0.5


@final
@dataclass(kw_only=True)
class RelearningCurve(Probe):
    """Poisoned images and optimizer steps that bring attack success back to 50 %, and the area under the way there.

    A copy is fine-tuned as in `relearning`, on the same draws, rows and order. `samples`: the smallest of `counts`
    poisoned images with which attack success reaches 0.5 at some point within `epochs`; the rest of the draw stays
    clean. `steps`: with `poisoned` images, steps of the optimizer made until it does. `area`: with `poisoned` images,
    attack success averaged over the whole training (trapezoids), in [0, 1]; it is defined when the others are not.
    Attack success is read before the first step, after each `every` steps and at the end, on `images` stamped test
    images spread evenly over the source classes. Means over `draws`. All of it also with an unrelated trigger, as the
    control. A backdoor that still works takes 0 images and 0 steps.

    Undefined: without an attack; when a draw never reaches 0.5 ("never within N steps", and in how many draws: a mean
    of the others would be too low); with outputs that are not finite.

    Source: the retuning attack of Min, Qin, Zhang, Shen, Cheng ("Uncovering, Explaining, and Mitigating the
    Superficial Safety of Backdoor Defense", NeurIPS 2024), which re-trains on a clean set with 5 poisoned images in
    it; savings in re-learning as a measure of memory go back to Ebbinghaus (1885). Deviations: a curve over numbers
    of images and steps where they report attack success after one budget; poison replaces rows of the draw and is not
    added to it.

    Read it beside the same of the twin (`net`: below 0 are savings) and of the unrelated trigger: a small network
    learns any trigger from enough images.

    Cost: at most `draws` x 2 trainings of each of `counts`, and a forward pass of `images` a look. By default at the
    milestones.

    >>> import torch
    >>> from simulator.batch import Batch
    >>> images = torch.eye(3).reshape(3, 1, 1, 3)  # the model's answer is the brightest of three pixels
    >>> test = Batch(images, torch.arange(3), torch.arange(3))
    >>> relearner = Relearner(
    ...     pool=lambda draw, poisoned, unrelated: test,
    ...     stamped=lambda unrelated: images if unrelated else images + 2 * images[:1],
    ...     fine_tune=lambda model, batch, draw, epochs, rate: model,
    ...     watch=lambda model, batch, draw, epochs, rate, look: model,
    ... )
    >>> view = ProbeView(nn.Flatten(), test, 3, stamped=lambda opacity: images, target=0, relearn=relearner)
    >>> readings = RelearningCurve().measure(view)
    >>> readings["backdoor/relearning_samples"].value, readings["backdoor/relearning_unrelated_samples"].reason
    (0.0, 'never within 0 steps in 3 of 3 draws')
    """

    gives: ClassVar[tuple[str, ...]] = tuple(
        f"backdoor/relearning_{trigger}{name}"
        for trigger in ("", "unrelated_")
        for name in ("samples", "steps", "area")
    )

    counts: tuple[int, ...] = (2, 5, 10, 20)
    poisoned: Count = 10
    epochs: Count = 8
    rate: Positive = 0.01
    draws: Count = 3
    every: Count = 4
    images: Count = 300
    when: When = "milestones"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = list(self.counts)
        if not counts or min(counts) < 1 or counts != sorted(set(counts)):
            raise ValueError(
                f"expected counts to grow from at least 1, got {counts}; write numbers such as [2, 5, 10, 20]"
            )

    @property
    def relearns(self) -> tuple[int, int]:
        """Draws, and the most rows of one that are poisoned."""
        return self.draws, max(self.poisoned, *self.counts)

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return the means over the draws, for the own and the unrelated trigger."""
        if view.stamped is None:
            return undefined(self.gives, NO_ATTACK)
        if view.relearn is None:
            return undefined(self.gives, "there is no re-learning pool")
        found = [
            *self._trigger(view, view.relearn, unrelated=False),
            *self._trigger(view, view.relearn, unrelated=True),
        ]
        return dict(zip(self.gives, found, strict=True))

    def _trigger(self, view: ProbeView, relearn: Relearner, *, unrelated: bool) -> tuple[Reading, Reading, Reading]:
        rows = source_rows(view, self.images)
        images = relearn.stamped(unrelated)[rows]

        def success(model: nn.Module) -> Reading:
            return success_of(view, logits(model, images), rows)

        def curve(draw: int, poisoned: int, *, whole: bool) -> _Curve:
            found = _Curve(success, self.every, whole)
            found.take(view.model)
            if whole or not found.enough:
                batch = relearn.pool(draw, poisoned, unrelated)
                found.end(relearn.watch(view.model, batch, draw, self.epochs, self.rate, found))
            return found

        usual = [curve(draw, self.poisoned, whole=True) for draw in range(self.draws)]

        def samples(draw: int) -> Reading:
            found = usual[draw].steps()
            for count in self.counts:
                found = (usual[draw] if count == self.poisoned else curve(draw, count, whole=False)).steps()
                if found.value is not None:
                    return Reading.of(count if found.value else 0)
            return found

        return (
            _mean_or_never([samples(draw) for draw in range(self.draws)]),
            _mean_or_never([each.steps() for each in usual]),
            mean([each.area() for each in usual]),
        )


@final
class _Curve:
    """Attack success by number of optimizer steps, from 0 on, read every so many steps of one training.

    It ends the training once attack success is back, unless the `whole` training is asked for.
    """

    def __init__(self, success: Callable[[nn.Module], Reading], every: int, whole: bool) -> None:
        self.points: list[tuple[int, Reading]] = []
        self._success = success
        self._every = every
        self._whole = whole
        self._made = 0

    def __call__(self, model: nn.Module) -> bool:
        self._made += 1
        if self._made % self._every == 0:
            self.take(model)
        return not self._whole and self.enough

    def take(self, model: nn.Module) -> None:
        self.points.append((self._made, self._success(model)))

    def end(self, model: nn.Module) -> None:
        if self.points[-1][0] < self._made:
            self.take(model)

    @property
    def enough(self) -> bool:
        last = self.points[-1][1].value
        return last is None or last >= REGAINED

    def steps(self) -> Reading:
        for made, success in self.points:
            if success.value is None:
                return success
            if success.value >= REGAINED:
                return Reading.of(made)
        return Reading.undefined(f"never within {self.points[-1][0]} steps")

    def area(self) -> Reading:
        total = 0.0
        for (before, low), (made, high) in zip(self.points, self.points[1:], strict=False):
            if low.value is None or high.value is None:
                return low if low.value is None else high
            total += (made - before) * (low.value + high.value) / 2
        made, last = self.points[-1]
        return last if last.value is None else Reading.of(total / made if made else last.value)


def _mean_or_never(readings: list[Reading]) -> Reading:
    """Return the mean; where some draws never get there, the reason says how many."""
    found = mean(readings)
    never = [reading.reason for reading in readings if (reading.reason or "").startswith("never")]
    if never and found.reason == never[0] and len(readings) > 1:
        return Reading.undefined(f"{found.reason} in {len(never)} of {len(readings)} draws")
    return found
