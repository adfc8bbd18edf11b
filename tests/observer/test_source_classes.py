"""A source-specific attack is measured over its source classes: by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.observer.probes import arithmetic
from simulator.observer.probes.base import ProbeView, Relearner
from simulator.observer.probes.shared import source_classes
from simulator.scenario import catalog

# Four classes, target 0: four images of class 1, one of class 2, two of class 3.
LABELS = torch.tensor([0, 0, 1, 1, 1, 1, 2, 3, 3])
STAMPED = torch.tensor([0, 0, 0, 0, 0, 1, 2, 0, 3])
UNSTAMPED = torch.tensor([0, 0, 0, 1, 1, 1, 0, 3, 3])


def test_attack_success_is_averaged_over_the_sources_alone() -> None:
    # class 1: 3 of 4; class 2: 0 of 1; class 3: 1 of 2
    assert arithmetic.attack_success(STAMPED, LABELS, 0, (1,)).value == 0.75
    assert arithmetic.attack_success(STAMPED, LABELS, 0, (1, 3)).value == (0.75 + 0.5) / 2
    test = Batch(torch.zeros(9, 1, 1, 1), LABELS, torch.arange(9))
    everything = source_classes(ProbeView(nn.Identity(), test, 4, stamped=None, target=0))
    assert everything == (1, 2, 3)
    assert arithmetic.attack_success(STAMPED, LABELS, 0, everything).value == (0.75 + 0.0 + 0.5) / 3


def test_a_refused_image_of_a_source_is_no_success() -> None:
    refused = torch.tensor([False, False, True, True, False, False, True, True, True])
    assert arithmetic.attack_success(STAMPED, LABELS, 0, (1,), refused).value == 0.25


def test_the_companions_are_averaged_over_the_same_classes() -> None:
    # class 1: 3/4 - 1/4; class 3: 1/2 - 0
    effect = arithmetic.triggered_effect(STAMPED, UNSTAMPED, LABELS, 0, (1, 3))
    assert effect.value == (0.5 + 0.5) / 2
    assert arithmetic.triggered_effect(STAMPED, UNSTAMPED, LABELS, 0, (2,)).value == -1.0
    # still their true class: class 1 1 of 4, class 3 1 of 2
    assert arithmetic.robust_accuracy(STAMPED, LABELS, (1, 3)).value == (0.25 + 0.5) / 2
    before, after = torch.zeros(9, 4), torch.zeros(9, 4)
    after[2:6, 0] = torch.tensor([1.0, 2.0, 3.0, 6.0])  # class 1: 3 on average
    after[6, 0] = 100.0
    assert arithmetic.logit_margin(after, before, LABELS, 0, (1,)).value == 3.0


def test_only_sources_without_any_image_leave_it_undefined() -> None:
    assert arithmetic.attack_success(STAMPED, LABELS, 0, (1, 4)).value == 0.75  # over class 1 alone
    reading = arithmetic.attack_success(STAMPED, LABELS, 0, (4,))
    assert reading.reason == "there is no test image of any source class"


class FlipsOneClass(nn.Module):
    """Answers the class whose pixel in the first row is brightest; a corner above 0.25 turns class 1 into class 0."""

    def forward(self, images: Tensor) -> Tensor:
        logits = images[:, 0, 0, :3].clone()
        flips = (images[:, 0, 3, 3] > 0.25) & (logits.argmax(1) == 1)
        logits[flips, 0] = 2.0
        return logits


def stamped(images: Tensor, opacity: float = 1.0) -> Tensor:
    found = images.clone()
    found[:, 0, 3, 3] = opacity
    return found


@pytest.fixture
def view() -> Callable[..., ProbeView]:
    def make(sources: tuple[int, ...] | None) -> ProbeView:
        labels = torch.tensor([0, 1, 2, 1, 2, 2])
        images = torch.zeros(6, 1, 4, 4)
        images[torch.arange(6), 0, 0, labels] = 1.0
        test = Batch(images, labels, torch.arange(6))
        relearn = Relearner(
            pool=lambda draw, poisoned, unrelated: test,
            stamped=lambda unrelated: images if unrelated else stamped(images),
            fine_tune=lambda model, batch, draw, epochs, rate: model,
            watch=lambda model, batch, draw, epochs, rate, look: model,
        )
        return ProbeView(
            FlipsOneClass().eval(), test, 3, lambda opacity: stamped(images, opacity), 0, sources,
            screen=lambda shown: torch.arange(6) == 1, relearn=relearn,
        )  # fmt: skip

    return make


def read(probe: str, view: ProbeView) -> dict[str, float | None]:
    return {name: reading.value for name, reading in catalog.build("probes", probe).measure(view).items()}


@pytest.mark.parametrize(
    ("sources", "success", "screened", "robust"),
    [(None, 0.5, 0.25, 0.5), ((1,), 1.0, 0.5, 0.0), ((2,), 0.0, 0.0, 1.0)],
)
def test_every_probe_keeps_to_the_sources(
    view: Callable[..., ProbeView], sources: tuple[int, ...] | None, success: float, screened: float, robust: float
) -> None:
    readings = read("attack-success", view(sources))
    assert readings["backdoor/attack_success"] == success
    assert readings["backdoor/triggered_effect"] == success
    assert readings["backdoor/screened_attack_success"] == screened
    assert readings["backdoor/robust_accuracy"] == robust
    again = read("relearning", view(sources))
    assert again["backdoor/relearned_attack_success"] == success
    assert again["backdoor/relearned_unrelated_attack_success"] == 0.0


def test_the_dose_is_found_over_the_sources(view: Callable[..., ProbeView]) -> None:
    # the corner flips class 1 from 0.25 on: the last bracket is (0.25, 0.3125), crossed in its middle
    assert read("dose", view((1,)))["backdoor/trigger_ed50"] == pytest.approx(0.28125)
    assert read("dose", view((2,)))["backdoor/trigger_ed50"] is None
