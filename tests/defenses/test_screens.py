"""Screens: the threshold that is stated, each method on hand-worked values, and what they do on real models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from defenses.base import Context, DoesNotApply, Rows, Screen
from defenses.ibd_psc import IbdPsc
from defenses.refusal import refusal
from defenses.scale_up import ScaleUp
from defenses.strip import Strip
from defenses.ted import Ted
from simulator.production.training.features import feature_layer
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use

SCREENS = [IbdPsc(error=0.0), ScaleUp(), Strip(overlays=4), Ted()]
ALL = pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: type(screen).__name__)


def context_of(
    model: nn.Module, incoming: Tensor, trusted: Tensor, labels: Tensor, classes: int, layer: str = "1"
) -> Context:
    generator = torch.Generator().manual_seed(0)
    rows = Rows(trusted, labels)
    return Context(model.eval(), layer, classes, torch.device("cpu"), rows, generator, incoming=incoming)


def test_the_threshold_leaves_the_stated_share_of_places_above_it() -> None:
    # 39 clean scores make 40 places for the next one; 2 of them (5 %) lie above the second highest
    found = refusal(torch.arange(1.0, 40.0), 0.05)
    assert found.threshold == 38.0
    assert found.flagged(torch.tensor([37.0, 38.0, 38.5, 99.0])).tolist() == [False, False, True, True]
    assert found.evidence()["false_positive_rate"] == 0.05


def test_the_stated_interval_is_the_beta_distribution_of_an_order_statistic() -> None:
    # rank 1 of 19: P(rate <= x) = 1 - (1 - x)^19, so the 2.5 % and 97.5 % points are 1 - .975^(1/19), 1 - .025^(1/19)
    low, high = refusal(torch.arange(19.0), 0.05).evidence()["false_positive_interval"]
    assert (low, high) == (round(1 - 0.975 ** (1 / 19), 4), round(1 - 0.025 ** (1 / 19), 4))


def test_new_clean_images_are_refused_at_the_stated_rate_on_average() -> None:
    draws = torch.rand(4000, 60, generator=torch.Generator().manual_seed(1))  # 59 calibrate, the last arrives
    refused = [bool(refusal(row[:-1], 0.1).flagged(row[-1:])) for row in draws]
    assert sum(refused) / 4000 == pytest.approx(0.1, abs=0.015)  # three standard errors


def test_equal_scores_are_not_refused_and_few_scores_do_not_do() -> None:
    assert not refusal(torch.ones(50), 0.05).flagged(torch.ones(9)).any()
    with pytest.raises(DoesNotApply, match=r"a false positive rate of 0\.05 needs 19 images to calibrate, got 18"):
        refusal(torch.zeros(18), 0.05)


def test_consistency_counts_the_amplified_copies_that_keep_the_label() -> None:
    # class 1 above a brightness of 0.5: 0.6 keeps it in all copies; 0.06 is class 0, and stays so times 3, 5 and 7
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0], [1.0]]))
        model[1].bias.copy_(torch.tensor([0.5, 0.0]))
    trusted = torch.full((40, 1, 1, 1), 0.06)
    context = context_of(model, torch.tensor([0.6, 0.06]).view(2, 1, 1, 1), trusted, torch.zeros(40).long(), 2)
    result = ScaleUp().screen(context)
    assert result.evidence["trusted_consistency"] == 0.6
    assert result.evidence["mean_consistency"] == 0.8
    # label 0 has mean 0.6 and no spread; label 1 never occurs and takes the same; half a step of 1/5 is 0.1
    torch.testing.assert_close(result.scores, torch.tensor([4.0, 0.0]))


class _Backwards(nn.Module):
    """Registers its second BatchNorm first."""

    def __init__(self, norms: bool = True) -> None:
        super().__init__()
        self.late = nn.BatchNorm2d(4) if norms else nn.Identity()
        self.early = nn.BatchNorm2d(4) if norms else nn.Identity()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        inner = self.early(self.one(images)).relu()
        logits: Tensor = self.head(self.late(self.two(inner)).relu().mean((2, 3)))
        return logits


def _amplified(norms: bool, **options: Any) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model, images = _Backwards(norms), torch.rand(40, 1, 8, 8)
    with torch.no_grad():
        labels = 1 - model.eval()(images).argmax(1)  # all wrong, so the first copy amplifies one BatchNorm
    return model, IbdPsc(**options).screen(context_of(model, images[:5], images, labels, 2, "head"))


def test_ibd_psc_amplifies_the_last_executed_norms_and_restores_them() -> None:
    model, result = _amplified(True, copies=1)
    assert result.evidence["amplified"] == [1]
    assert bool((model.late.weight == 1).all()) and bool((model.early.weight == 1).all())  # type: ignore[union-attr,operator]  # noqa: PT018
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = model(images)
        model.late.weight.mul_(1.5), model.late.bias.mul_(1.5)  # type: ignore[union-attr,operator]
        expected = model(images).softmax(1).gather(1, before.argmax(1, keepdim=True)).squeeze(1)
        model.late.weight.div_(1.5), model.late.bias.div_(1.5)  # type: ignore[union-attr,operator]
    found = IbdPsc(copies=1).screen(context_of(model, images, images, 1 - before.argmax(1), 2, "head"))
    torch.testing.assert_close(found.scores, expected)


def test_ibd_psc_takes_the_papers_threshold_when_told() -> None:
    _, result = _amplified(True, threshold=0.0)
    assert result.flagged.all()
    assert result.evidence["refused_trusted"] == 1.0


def test_ibd_psc_needs_norms_whose_amplification_makes_errors() -> None:
    with pytest.raises(DoesNotApply, match="needs a network with BatchNorm"):
        _amplified(False)
    torch.manual_seed(0)
    model, images = _Backwards(), torch.rand(40, 1, 8, 8)
    with pytest.raises(DoesNotApply, match=r"makes the model err on over 0\.6 of trusted images"):
        IbdPsc().screen(context_of(model, images, images, model.eval()(images).argmax(1), 2, "head"))


def test_ted_ranks_the_first_neighbour_of_the_predicted_class() -> None:
    # the first layer reads pixel 0, the second what the first made of it: minus pixel 1; logits tell pixel 0 from 0.5
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.Linear(2, 2))
    with torch.no_grad():
        for layer in model[1:]:
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    places = torch.linspace(0.1, 0.4, 20)
    low, high = torch.stack([places, 1 - places], 1), torch.stack([1 - places, places], 1)  # class 1, class 0
    trusted, labels = torch.cat([low, high]).view(40, 1, 1, 2), torch.arange(40) // 20
    context = context_of(model, torch.tensor([[0.1, 0.9], [0.9, 0.1]]).view(2, 1, 1, 2), trusted, 1 - labels, 2, "2")
    assert Ted(false_positive_rate=0.06).screen(context).evidence["mean_ranks"] == [0.0, 0.0]


def test_ted_finds_the_trigger(poisoned: Any) -> None:
    others = poisoned.test.images[poisoned.test.labels != 3][:400]
    stamped = others.clone()
    stamped[:, :, 25:, 25:] = 1.0
    refused = [Ted().screen(poisoned.context(incoming=images)).flagged.float().mean() for images in (others, stamped)]
    assert refused[0] < 0.10  # 0.05 chosen
    assert refused[1] > 0.5


@ALL
def test_screens_judge_each_image_by_itself(screen: Screen, poisoned: Any) -> None:
    images = poisoned.test.images[:40]
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    together = screen.screen(poisoned.context(incoming=images)).scores
    apart = screen.screen(poisoned.context(incoming=images[order][:25])).scores
    assert together is not None
    assert apart is not None
    torch.testing.assert_close(together[order][:25], apart)


@ALL
@pytest.mark.parametrize("network", ["compact-cnn", "resnet20", "without BatchNorm"])
@pytest.mark.parametrize(("channels", "classes"), [(1, 26), (3, 10)])
def test_screens_work_on_any_channels_classes_and_networks(
    screen: Screen, network: str, channels: int, classes: int
) -> None:
    if network == "without BatchNorm":
        torch.manual_seed(0)
        plain = nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes)
        model, layer = nn.Sequential(*plain).eval(), "4"
    else:
        model = build_network(Use(use=network), channels=channels, size=(9, 12), classes=classes, seed=0)
        layer = feature_layer(model)
    images = torch.rand(78, channels, 9, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        labels = model(images).argmax(1)
    labels[::2] = torch.arange(39) % classes
    if isinstance(screen, IbdPsc) and network == "without BatchNorm":
        with pytest.raises(DoesNotApply, match="needs a network with BatchNorm"):
            screen.screen(context_of(model, images[:30], images, labels, classes, layer))
        return
    result = screen.screen(context_of(model, images[:30], images, labels, classes, layer))
    assert result.flagged.shape == (30,)
    assert result.scores is not None
    assert result.scores.isfinite().all()
    nothing = screen.screen(context_of(model, images[:0], images, labels, classes, layer))
    assert nothing.flagged.shape == (0,)


@ALL
def test_screens_say_that_few_trusted_images_do_not_do(screen: Screen) -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 2))
    images = torch.rand(8, 1, 8, 8)
    with pytest.raises(DoesNotApply, match="need"):
        screen.screen(context_of(model, images, images, torch.zeros(8).long(), 2, "2"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ScaleUp(false_positive_rate=1.0), "expected false_positive_rate to be below 1, got 1.0"),
        (lambda: Ted(false_positive_rate=0.0), "expected false_positive_rate to be above 0, got 0.0"),
        (lambda: IbdPsc(factor=1.0), "expected factor to be above 1, got 1.0"),
        (lambda: IbdPsc(copies=0), "expected copies to be at least 1, got 0"),
        (lambda: IbdPsc(threshold=1.5), "expected threshold to be at most 1, got 1.5"),
    ],
)
def test_options_out_of_range_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
