"""Does the backdoor work: attack success, and the readings that show when it misleads."""

from __future__ import annotations

from typing import ClassVar, final

from simulator.observer.probes import arithmetic
from simulator.observer.probes.base import Probe, ProbeView
from simulator.observer.probes.shared import (
    NO_ATTACK,
    NO_SCREEN,
    NOT_FINITE,
    answered,
    finite,
    goals,
    refused,
    source_classes,
    stamped_logits,
    undefined,
    unstamped_logits,
)
from simulator.records import Reading

_SHARE = "clean/largest_predicted_share"
_COLLAPSED = "backdoor/collapsed"


@final
class AttackSuccess(Probe):
    """Attack success (BadNets: Gu, Dolan-Gavitt, Garg, 2017) over the attack's source classes, and its companions.

    Images of the target class never count; the source classes are all others unless the attack is source-specific.

    Read it beside `backdoor/triggered_effect` (lag), `backdoor/collapsed` (a model that answers one class always) and
    clean accuracy. Without an attack only the two collapse readings are defined; without a screen, no screened one.

    >>> import torch
    >>> from torch import nn
    >>> from simulator.batch import Batch
    >>> images = torch.eye(3).reshape(3, 1, 1, 3)  # the model's answer is the brightest of three pixels
    >>> test = Batch(images, torch.arange(3), torch.arange(3))
    >>> view = ProbeView(nn.Flatten(), test, 3, stamped=lambda opacity: images + 2 * opacity * images[:1], target=0)
    >>> AttackSuccess().measure(view)["backdoor/attack_success"].value
    1.0
    """

    gives: ClassVar[tuple[str, ...]] = (
        "backdoor/attack_success",
        "backdoor/triggered_effect",
        "backdoor/logit_margin",
        "backdoor/robust_accuracy",
        "backdoor/screened_attack_success",
        _COLLAPSED,
        _SHARE,
    )

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return the readings; undefined without an attack, a source class's images, or finite outputs."""
        unstamped = unstamped_logits(view)
        if not finite(unstamped):
            return undefined(self.gives, NOT_FINITE)
        share = arithmetic.largest_predicted_share(unstamped.argmax(1), view.test.labels, view.classes)
        readings = {_SHARE: share, _COLLAPSED: arithmetic.collapsed(share)}
        if view.stamped is None:
            return undefined(self.gives[:5], NO_ATTACK) | readings
        if not finite(stamped_logits(view)):
            return undefined(self.gives[:5], NOT_FINITE) | readings
        return self._with_attack(view) | readings

    def _with_attack(self, view: ProbeView) -> dict[str, Reading]:
        stamped, unstamped = stamped_logits(view), unstamped_logits(view)
        hit, plain, rows = (
            stamped.argmax(1),
            unstamped.argmax(1),
            (view.test.labels, goals(view, view.test.labels), source_classes(view)),
        )
        return {
            "backdoor/attack_success": arithmetic.attack_success(hit, *rows),
            "backdoor/triggered_effect": arithmetic.triggered_effect(hit, plain, *rows),
            "backdoor/logit_margin": arithmetic.logit_margin(stamped, unstamped, *rows),
            "backdoor/robust_accuracy": arithmetic.robust_accuracy(hit, view.test.labels, source_classes(view)),
            "backdoor/screened_attack_success": self._screened(view),
        }

    def _screened(self, view: ProbeView) -> Reading:
        if view.stamped is None or view.screen is None:
            return Reading.undefined(NO_SCREEN)
        images, labels = view.stamped(1.0), view.test.labels
        hidden, hit = refused(view, images), answered(view, images, stamped_logits(view).argmax(1))
        return arithmetic.attack_success(hit, labels, goals(view, labels), source_classes(view), hidden)
