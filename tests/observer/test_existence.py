"""How much of the ancestor's backdoor is in a version's weights, by hand and by the published formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.observer.probes.base import ProbeView
from simulator.observer.probes.existence import linear_cka
from tests.observer.readable import Readable, read, view_of, weights


def numpy_cka(features: np.ndarray, others: np.ndarray) -> float:
    """Kornblith et al. (2019), as printed: of column-centred features, ||Y'X||² / (||X'X|| ||Y'Y||)."""
    x, y = features - features.mean(0), others - others.mean(0)
    return float(np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def test_linear_cka_is_the_published_formula() -> None:
    random = np.random.default_rng(0)
    one, two = random.normal(size=(20, 6)), random.normal(size=(20, 9))
    assert linear_cka(torch.tensor(one), torch.tensor(two)) == pytest.approx(numpy_cka(one, two))
    turned = np.linalg.qr(random.normal(size=(6, 6)))[0]
    assert linear_cka(torch.tensor(one), torch.tensor(3 * one @ turned + 5)) == pytest.approx(1.0)
    # by hand: centred (1, -1, 0) and (1, 0, -1); inner product 1, norms 2 and 2, so (1 / 2)²
    assert linear_cka(torch.tensor([[2.0], [0.0], [1.0]]), torch.tensor([[1.0], [0.0], [-1.0]])) == pytest.approx(0.25)
    assert linear_cka(torch.tensor(one), torch.ones(20, 3)) == 0.0
    assert linear_cka(torch.ones(20, 3), torch.tensor(one)) is None


class Convolved(nn.Module):
    """A 1x1 convolution of two channels: what they see is pixel (0, 0) or the corner, as the weights say."""

    def __init__(self, weight: list[float]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1, bias=False)
        self.conv.weight = nn.Parameter(torch.tensor(weight).reshape(2, 2, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        found = self.conv(images)
        return torch.cat([found.flatten(1), found.flatten(1)[:, :1]], 1)


def test_existence_by_hand() -> None:
    # Two input planes of one pixel. The stamp adds x[1] = its own seeded value, so channel 1 (0.1 x x[0] + x[1]) is the
    # one that the trigger moves in the ancestor; the version's channel 1 has turned to x[0].
    random = np.random.default_rng(1)
    planes, marks = random.normal(size=(40, 1)), random.normal(size=(40, 1))
    images = torch.tensor(np.hstack([planes, np.zeros((40, 1))]), dtype=torch.float32).reshape(40, 2, 1, 1)
    marked = torch.tensor(np.hstack([planes, marks]), dtype=torch.float32).reshape(40, 2, 1, 1)
    test = Batch(images, torch.ones(40, dtype=torch.int64), torch.arange(40))
    ancestor, current, twin = [1.0, 0.0, 0.1, 1.0], [1.0, 0.0, 1.0, 0.5], [1.0, 0.0, 1.0, 0.0]
    view = ProbeView(
        Convolved(current).eval(),
        test,
        2,
        lambda opacity: marked,
        target=0,
        ancestor=Convolved(ancestor).state_dict(),
        control=Convolved(twin).state_dict(),
    )
    found = read("existence", view, shares=[0.5])
    moved = 0.1 * planes + marks
    raw, floor = numpy_cka(moved, planes + 0.5 * marks), numpy_cka(moved, planes)
    assert found["backdoor/existence_raw"].value == pytest.approx(raw, rel=1e-4)
    assert found["backdoor/existence_floor"].value == pytest.approx(floor, rel=1e-3)
    assert found["backdoor/existence"].value == pytest.approx((raw - floor) / (1 - floor), rel=1e-3)
    # all channels: the two side by side
    both = read("existence", view, shares=[0.5, 1.0])["backdoor/existence_raw"].value
    whole = numpy_cka(np.hstack([planes, moved]), np.hstack([planes, planes + 0.5 * marks]))
    assert both == pytest.approx((raw + whole) / 2, rel=1e-4)
    alone = read("existence", replace(view, control=None), shares=[0.5])
    assert alone["backdoor/existence_raw"].value == pytest.approx(raw, rel=1e-4)
    assert alone["backdoor/existence"].reason == "there is no paced twin to compare with"
    same = read("existence", replace(view, control=view.ancestor))
    assert same["backdoor/existence"].reason == "the twin is as alike as the ancestor itself"
    silent = read("existence", replace(view, model=Convolved([0.0, 0.0, 0.0, 0.0]).eval()), shares=[0.5])
    assert silent["backdoor/existence_raw"].value == 0.0


def test_the_ancestor_itself_has_all_of_it() -> None:
    images = torch.rand(40, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    test = Batch(images, torch.ones(40, dtype=torch.int64), torch.arange(40))
    model = Convolved([1.0, 0.0, 0.1, 1.0]).eval()
    twin = Convolved([1.0, 0.0, 1.0, 0.0]).state_dict()
    view = ProbeView(
        model, test, 2, lambda opacity: images.flip(0), target=0, ancestor=model.state_dict(), control=twin
    )
    assert read("existence", view)["backdoor/existence"].value == pytest.approx(1.0)


def test_existence_needs_an_ancestor_and_convolutions() -> None:
    assert read("existence", view_of(Readable(1.0)))["backdoor/existence"].reason == (
        "this version has no poisoned ancestor"
    )
    none = read("existence", view_of(Readable(1.0), ancestor=weights(1.0)))
    assert none["backdoor/existence_raw"].reason == "the network has no convolution"
