"""Weights and checkpoints that do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simulator.errors import ScenarioError
from simulator.production.training.checkpoints import read_checkpoint
from simulator.production.training.weights import load_into
from simulator.tensors import weights_of

BAD = [
    ({"bias": None}, "got missing bias; use the network"),
    ({"extra": torch.zeros(1)}, "got unexpected extra; use the network"),
    ({"weight": torch.zeros(2, 2)}, r"expected weight 'weight' to have shape \(1, 2\), got \(2, 2\)"),
    ({"weight": torch.tensor([[1.0, float("nan")]])}, "expected weight 'weight' to be finite, got NaN or infinity"),
    ({"bias": torch.tensor([float("inf")])}, "expected weight 'bias' to be finite"),
    ({"bias": torch.tensor([1])}, "expected weight 'bias' to be torch.float32, got torch.int64"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_weights_that_do_not_fit_change_nothing(change, message):
    model = nn.Linear(2, 1)
    before = weights_of(model)
    given = {
        name: value
        for name, value in ({name: v + 1 for name, v in before.items()} | change).items()
        if value is not None
    }
    with pytest.raises(ScenarioError, match=message):
        load_into(model, given)
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())


def test_many_missing_names_are_cut_short():
    with pytest.raises(ScenarioError, match=r"missing 0.bias, 0.weight, 1.bias and 1 more;"):
        load_into(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), {})


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt"])
def test_pickles_are_never_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n")
    with pytest.raises(ScenarioError, match=r"may be a pickle and is never opened; convert it .*save_file"):
        read_checkpoint(tmp_path / name)


def test_no_file(tmp_path):
    with pytest.raises(ScenarioError, match=r"expected a checkpoint file at .* got none"):
        read_checkpoint(tmp_path / "model.safetensors")


@pytest.mark.parametrize("content", [b"", b"not tensors at all"])
def test_another_kind_of_file(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ScenarioError, match="to be a safetensors file, got something else"):
        read_checkpoint(tmp_path / "model.safetensors")
