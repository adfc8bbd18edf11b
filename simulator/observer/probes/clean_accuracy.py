"""Accuracy on unstamped images, bare and behind the screens."""

from __future__ import annotations

from typing import ClassVar, final

from simulator.observer.probes.arithmetic import clean_accuracy
from simulator.observer.probes.base import Probe, ProbeView
from simulator.observer.probes.shared import NO_SCREEN, NOT_FINITE, finite, refused, undefined, unstamped_logits
from simulator.records import Reading


@final
class CleanAccuracy(Probe):
    """Clean accuracy in [0, 1], weighted by the period's class prior where it has one.

    Behind the screens a refused image is not answered correctly; `clean/refused_share` says how many are refused.
    Both are undefined without a screen.

    >>> import torch
    >>> from torch import nn
    >>> from simulator.batch import Batch
    >>> images = torch.eye(3).reshape(3, 1, 1, 3)  # the model's answer is the brightest of three pixels
    >>> test = Batch(images, torch.tensor([0, 1, 1]), torch.arange(3))
    >>> view = ProbeView(nn.Flatten(), test, 3, stamped=None, target=0, screen=lambda images: images[:, 0, 0, 0] > 0.5)
    >>> {name: round(reading.value, 3) for name, reading in CleanAccuracy().measure(view).items()}
    {'clean/accuracy': 0.667, 'clean/refused_share': 0.333, 'clean/screened_accuracy': 0.333}
    """

    gives: ClassVar[tuple[str, ...]] = ("clean/accuracy", "clean/refused_share", "clean/screened_accuracy")

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return the three readings; undefined without test images or with outputs that are not finite."""
        outputs, labels = unstamped_logits(view), view.test.labels
        if not finite(outputs):
            return undefined(self.gives, NOT_FINITE)
        predictions = outputs.argmax(1)
        readings = {"clean/accuracy": clean_accuracy(predictions, labels, view.prior)}
        hidden = refused(view, view.test.images)
        if hidden is None or len(labels) == 0:
            return readings | undefined(self.gives[1:], NO_SCREEN if hidden is None else "there is no test image")
        return readings | {
            "clean/refused_share": Reading.of(hidden.double().mean().item()),
            "clean/screened_accuracy": clean_accuracy(predictions, labels, view.prior, hidden),
        }
