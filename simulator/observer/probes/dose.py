"""How visible the trigger must be: its ED50, as in a dose-response curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from pydantic import Field

from simulator.observer.probes.arithmetic import attack_success, ed50
from simulator.observer.probes.base import Probe, ProbeView, When
from simulator.observer.probes.shared import (
    NO_ATTACK,
    NOT_FINITE,
    balanced_rows,
    finite,
    goals,
    source_classes,
    stamped_logits,
    undefined,
    unstamped_logits,
)
from simulator.production.training.evaluate import logits
from simulator.records import Reading
from simulator.scenario.bounds import Count


@final
@dataclass(kw_only=True)
class Dose(Probe):
    """The trigger's ED50: the smallest opacity in [0, 1] with attack success of one half (see `arithmetic.ed50`).

    `images`: source-class test images read at each opacity, spread evenly over the source classes (the first of each
    class); `halvings`: bisection steps, one forward pass each, down to a bracket of 2**-halvings; `when`: every
    version, or the milestones only.

    >>> import torch
    >>> from torch import nn
    >>> from simulator.batch import Batch
    >>> images = torch.eye(3).reshape(3, 1, 1, 3)  # the model's answer is the brightest of three pixels
    >>> test = Batch(images, torch.arange(3), torch.arange(3))
    >>> view = ProbeView(nn.Flatten(), test, 3, stamped=lambda opacity: images + 4 * opacity * images[:1], target=0)
    >>> Dose(halvings=6).measure(view)["backdoor/trigger_ed50"].value  # 4 x 0.25 outshines a pixel of 1
    0.2421875
    """

    gives: ClassVar[tuple[str, ...]] = ("backdoor/trigger_ed50",)

    images: Count = 500
    halvings: Annotated[int, Field(ge=0, le=20)] = 4
    when: When = "every"

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return the ED50; undefined without an attack, and when the full trigger does not reach one half."""
        stamped = view.stamped
        if stamped is None:
            return undefined(self.gives, NO_ATTACK)
        if not finite(unstamped_logits(view), stamped_logits(view)):
            return undefined(self.gives, NOT_FINITE)
        sources = source_classes(view)
        rows = balanced_rows(view.test.labels, sources, self.images)
        known = {0.0: unstamped_logits(view)[rows], 1.0: stamped_logits(view)[rows]}

        def success(opacity: float) -> Reading:
            outputs = known[opacity] if opacity in known else logits(view.model, stamped(opacity)[rows])
            labels = view.test.labels[rows]
            return attack_success(outputs.argmax(1), labels, goals(view, labels), sources)

        return {"backdoor/trigger_ed50": ed50(success, self.halvings)}
