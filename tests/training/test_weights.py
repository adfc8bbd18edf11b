"""Weights out of a model, through a file, and back."""

from __future__ import annotations

import hashlib

import torch
from safetensors.torch import save_file
from torch import nn

from simulator.production.training.checkpoints import read_checkpoint
from simulator.production.training.evaluate import logits
from simulator.production.training.networks import build_network
from simulator.production.training.weights import load_into
from simulator.scenario.model import Use
from simulator.tensors import weights_digest, weights_of


def network(seed):
    return build_network(Use(use="resnet20"), channels=3, size=(8, 8), classes=3, seed=seed)


def test_round_trip_through_a_file_keeps_every_bit(tmp_path):
    first, second = network(1), network(2)
    images = torch.rand(5, 3, 8, 8)
    assert not torch.equal(logits(first, images), logits(second, images))
    save_file(weights_of(first), tmp_path / "model.safetensors")
    load_into(second, read_checkpoint(tmp_path / "model.safetensors"))
    assert torch.equal(logits(first, images), logits(second, images))
    assert weights_digest(weights_of(first)) == weights_digest(weights_of(second))


def test_weights_are_contiguous_copies():
    model = network(1)
    weights = weights_of(model)
    assert all(value.is_contiguous() and not value.requires_grad for value in weights.values())
    before = weights_digest(weights)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert weights_digest(weights) == before


def test_digest_by_hand():
    weights = {"b": torch.tensor(3, dtype=torch.int64), "a": torch.tensor([[1.0, 2.0]])}
    digest = hashlib.sha256()
    for head, body in (
        (b"a\0torch.float32\0(1, 2)", b"\x00\x00\x80\x3f\x00\x00\x00\x40"),
        (b"b\0torch.int64\0()", b"\x03" + bytes(7)),
    ):
        digest.update(len(head).to_bytes(8, "big") + head + body)
    assert weights_digest(weights) == digest.hexdigest()


def test_digest_sees_names_dtypes_shapes_and_bytes_but_no_order_or_layout():
    base = {"a": torch.arange(8.0).reshape(1, 2, 2, 2), "b": torch.zeros(2)}
    same = {"b": torch.zeros(2), "a": base["a"].contiguous(memory_format=torch.channels_last)}
    assert weights_digest(same) == weights_digest(base)
    for other in (
        {"c": base["a"], "b": base["b"]},
        {"a": base["a"].view(torch.int32), "b": base["b"]},
        {"a": base["a"].reshape(2, 4), "b": base["b"]},
        {"a": -base["a"], "b": base["b"]},
        {"a": base["a"].bfloat16(), "b": base["b"]},
    ):
        assert weights_digest(other) != weights_digest(base)


def test_half_precision_weights_are_widened():
    model = nn.Linear(2, 1)
    load_into(model, {"weight": torch.tensor([[0.5, 1.5]]).half(), "bias": torch.zeros(1)})
    assert model.weight.tolist() == [[0.5, 1.5]]
    assert model.weight.dtype == torch.float32
