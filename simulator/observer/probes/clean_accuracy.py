"""Accuracy on unstamped images, bare and behind the screens."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Tensor

from simulator.observer.probes.arithmetic import accuracy_over, clean_accuracy
from simulator.observer.probes.base import Probe, ProbeView
from simulator.observer.probes.chance import better_than_chance
from simulator.observer.probes.shared import (
    NO_SCREEN,
    NOT_FINITE,
    answered,
    finite,
    refused,
    undefined,
    unstamped_logits,
)
from simulator.records import Reading

_SCREENED = ("clean/refused_share", "clean/screened_accuracy")


@final
class CleanAccuracy(Probe):
    """Clean accuracy in [0, 1], weighted by the period's class prior where it has one.

    Behind the screens a refused image is not answered correctly, and what a screen answers counts as the answer;
    `clean/refused_share` says how many are refused. Both are undefined without a screen.
    `clean/accuracy_seen_classes` is over the classes that training has seen so far: it tells a model that forgets from
    one that was never shown a class. `clean/better_than_chance`, over the same classes, is 1 or 0: where it is 0, no
    reading of the version is evidence of a backdoor.

    >>> import torch
    >>> from torch import nn
    >>> from simulator.batch import Batch
    >>> images = torch.eye(3).reshape(3, 1, 1, 3)  # the model's answer is the brightest of three pixels
    >>> test = Batch(images, torch.tensor([0, 1, 1]), torch.arange(3))
    >>> view = ProbeView(nn.Flatten(), test, 3, stamped=None, target=0, screen=lambda images: images[:, 0, 0, 0] > 0.5)
    >>> found = CleanAccuracy().measure(view)
    >>> {name: round(found[name].value, 3) for name in ("clean/accuracy", "clean/refused_share")}
    {'clean/accuracy': 0.667, 'clean/refused_share': 0.333}
    >>> found["clean/better_than_chance"].value  # two right answers of three are no more than chance gives
    0.0
    """

    gives: ClassVar[tuple[str, ...]] = (
        "clean/accuracy",
        "clean/accuracy_seen_classes",
        "clean/better_than_chance",
        *_SCREENED,
    )

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return the readings; undefined without test images or with outputs that are not finite."""
        outputs, labels = unstamped_logits(view), view.test.labels
        if not finite(outputs):
            return undefined(self.gives, NOT_FINITE)
        predictions = outputs.argmax(1)
        readings = {
            "clean/accuracy": clean_accuracy(predictions, labels, view.prior),
            "clean/accuracy_seen_classes": _over_seen(predictions, view),
            "clean/better_than_chance": better_than_chance(predictions, labels, view.seen),
        }
        hidden = refused(view, view.test.images)
        if hidden is None or len(labels) == 0:
            return readings | undefined(_SCREENED, NO_SCREEN if hidden is None else "there is no test image")
        return readings | {
            "clean/refused_share": Reading.of(hidden.double().mean().item()),
            "clean/screened_accuracy": clean_accuracy(
                answered(view, view.test.images, predictions), labels, view.prior, hidden
            ),
        }


def _over_seen(predictions: Tensor, view: ProbeView) -> Reading:
    if view.seen is None:
        return Reading.undefined("it is not known which classes were trained on")
    return accuracy_over(predictions, view.test.labels, view.seen, view.prior)
