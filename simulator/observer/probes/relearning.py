"""How strongly an erased backdoor comes back after a little re-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from simulator.observer.probes.arithmetic import clean_accuracy
from simulator.observer.probes.base import Probe, ProbeView, Relearner, When
from simulator.observer.probes.shared import NO_ATTACK, NOT_FINITE, finite, mean, spread, success_of, undefined
from simulator.production.training.evaluate import logits
from simulator.records import Reading
from simulator.scenario.bounds import Count, Positive

_OWN = "backdoor/relearned_attack_success"
_UNRELATED = "backdoor/relearned_unrelated_attack_success"
_CLEAN = "clean/relearned_accuracy"


@final
@dataclass(kw_only=True)
class Relearning(Probe):
    """Attack success of copies fine-tuned on a few images, some stamped: with the own and with an unrelated trigger.

    `poisoned` rows of each draw from the re-learning pool (`stream.relearning` rows) are stamped and labelled as the
    target; `epochs` at the constant learning rate `rate`; means over `draws` independent draws, as one draw may be an
    outlier. The spread readings are sample standard deviations over the draws. The copy's clean accuracy is read after
    re-learning the own trigger. Costly, so by default at the `milestones`; `when: every` reads every version.
    Undefined without an attack or a re-learning pool, and when outputs are not finite. Source: "relearn time" in
    machine unlearning; here with an unrelated trigger as its control. Read it beside that one's and the twin's.

    >>> import torch
    >>> from torch import nn
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
    >>> readings = Relearning().measure(view)
    >>> [readings[f"backdoor/relearned_{trigger}attack_success"].value for trigger in ("", "unrelated_")]
    [1.0, 0.0]
    """

    gives: ClassVar[tuple[str, ...]] = (_OWN, _UNRELATED, _CLEAN, f"{_OWN}_spread", f"{_UNRELATED}_spread")

    poisoned: Count = 10
    epochs: Count = 8
    rate: Positive = 0.01
    draws: Count = 3
    when: When = "milestones"

    @property
    def relearns(self) -> tuple[int, int]:
        """Draws, and rows of each that are poisoned."""
        return self.draws, self.poisoned

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return the means and spreads over the draws; undefined without an attack."""
        if view.stamped is None:
            return undefined(self.gives, NO_ATTACK)
        if view.relearn is None:
            return undefined(self.gives, "there is no re-learning pool")
        own = [self._draw(view, view.relearn, draw, unrelated=False) for draw in range(self.draws)]
        other = [self._draw(view, view.relearn, draw, unrelated=True) for draw in range(self.draws)]
        successes, controls = [success for success, _ in own], [success for success, _ in other]
        return {
            _OWN: mean(successes),
            _UNRELATED: mean(controls),
            _CLEAN: mean([clean for _, clean in own]),
            f"{_OWN}_spread": spread(successes),
            f"{_UNRELATED}_spread": spread(controls),
        }

    def _draw(self, view: ProbeView, relearn: Relearner, draw: int, *, unrelated: bool) -> tuple[Reading, Reading]:
        batch = relearn.pool(draw, self.poisoned, unrelated)
        copy = relearn.fine_tune(view.model, batch, draw, self.epochs, self.rate)
        stamped = logits(copy, relearn.stamped(unrelated))
        unstamped = stamped if unrelated else logits(copy, view.test.images)  # clean accuracy only with the own
        if not finite(stamped, unstamped):
            return Reading.undefined(NOT_FINITE), Reading.undefined(NOT_FINITE)
        return success_of(view, stamped), clean_accuracy(unstamped.argmax(1), view.test.labels, view.prior)
