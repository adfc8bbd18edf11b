"""The pooling that is quick without gradients: the numbers of torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simulator.production.training.blocks import HalvingMaxPool


@pytest.mark.parametrize("shape", [(3, 8, 28, 28), (2, 32, 7, 7), (1, 1, 2, 3), (4, 16, 9, 8)])
def test_it_pools_as_torch_does_with_and_without_gradients(shape: tuple[int, ...]) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1)).round(decimals=1)  # with ties
    images = images.contiguous(memory_format=torch.channels_last)
    expected = nn.MaxPool2d(2)(images)
    with torch.no_grad():
        assert torch.equal(HalvingMaxPool()(images), expected)
    learning = images.clone().requires_grad_()
    HalvingMaxPool()(learning).sum().backward()
    reference = images.clone().requires_grad_()
    nn.MaxPool2d(2)(reference).sum().backward()
    assert learning.grad is not None
    assert reference.grad is not None
    assert torch.equal(learning.grad, reference.grad)


def test_a_window_is_worth_its_largest_pixel() -> None:
    images = torch.tensor([[[[1.0, -2.0, 0.5, 9.0], [3.0, 0.0, 0.25, 0.0], [7.0, 7.0, 7.0, 7.0]]]])
    assert HalvingMaxPool()(images).tolist() == [[[[3.0, 9.0]]]]


def test_what_is_not_a_number_stays_so() -> None:
    images = torch.tensor([[[[1.0, float("nan")], [3.0, 0.0]]]])
    assert HalvingMaxPool()(images).isnan().all()


def test_the_memory_lies_as_torch_lays_it() -> None:
    images = torch.zeros(2, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    assert HalvingMaxPool()(images).stride() == nn.MaxPool2d(2)(images).stride()
