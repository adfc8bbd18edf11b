"""A version's weights: hashed once, copied until they are released, and watched for changes in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simulator.errors import PluginError
from simulator.tensors import ModelVersion, weights_digest, weights_of, writes


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()


def test_weights_are_copied_once_until_they_are_released() -> None:
    version = ModelVersion(model())
    first = version.weights
    assert version.weights is first
    assert all(torch.equal(value, version.model.state_dict()[name]) for name, value in first.items())
    version.release()
    assert version.weights is not first
    assert version.digest == weights_digest(weights_of(version.model))


def test_a_change_in_place_is_noticed() -> None:
    version = ModelVersion(model())
    version.model(torch.ones(4, 3))
    version.expect_unchanged()  # reading is no change
    with torch.no_grad():
        version.model[0].weight.mul_(2)
    with pytest.raises(
        PluginError, match="expected the weights of a version to stay as they were, got a change in place"
    ):
        version.expect_unchanged()


def test_running_statistics_that_move_are_a_change() -> None:
    version = ModelVersion(model())
    version.model.train()(torch.rand(4, 3))
    with pytest.raises(PluginError, match="got a change in place"):
        version.expect_unchanged()


def test_torch_counts_changes_through_views_and_not_through_data() -> None:
    value = torch.zeros(2, 2)
    before = writes([value])
    value[0].add_(1)
    assert writes([value]) != before
    before = writes([value])
    value.data.add_(1)
    assert writes([value]) == before
