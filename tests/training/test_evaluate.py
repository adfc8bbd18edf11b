"""Logits and accuracy, in eval mode and without a trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simulator.batch import Batch
from simulator.production.training.evaluate import accuracy, logits


def test_accuracy_by_hand():
    model = nn.Flatten()
    images = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]).reshape(3, 2, 1, 1)
    assert accuracy(model, Batch(images, torch.tensor([1, 0, 0]), torch.arange(3))) == 2 / 3


def test_no_rows_have_no_accuracy():
    empty = Batch(torch.zeros(0, 2, 1, 1), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="expected a batch with rows, got none"):
        accuracy(nn.Flatten(), empty)


def test_the_batch_size_does_not_matter_and_modes_are_put_back(small_network, bars):
    small_network.train()
    small_network.features[0].eval()
    modes = [module.training for module in small_network.modules()]
    whole = logits(small_network, bars.images, 1000)
    torch.testing.assert_close(logits(small_network, bars.images, 7), whole)
    assert [module.training for module in small_network.modules()] == modes
    assert int(small_network.features[1][1].num_batches_tracked) == 0


def test_logits_are_ordinary_tensors(small_network, bars):
    found = logits(small_network, bars.images)
    assert not found.is_inference()
    assert not found.requires_grad
    assert found.shape == (205, 3)


def test_evaluates_with_running_statistics(small_network, bars):
    expected = small_network.eval()(bars.images)
    torch.testing.assert_close(logits(small_network.train(), bars.images), expected.detach())
