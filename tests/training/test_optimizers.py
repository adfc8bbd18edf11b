"""Optimizers against updates worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simulator.production.training.optimizers import AdamW, Sgd


def walk(factory, gradients, rate=0.1, start=1.0):
    weight = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = factory.build([weight])
    for gradient in gradients:
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return weight.item()


def test_sgd_momentum_by_hand():
    # v1 = 1; w = 1 - 0.1 = 0.9; v2 = 0.9 * 1 + 2 = 2.9; w = 0.9 - 0.29
    assert walk(Sgd(momentum=0.9, weight_decay=0.0), [1.0, 2.0]) == pytest.approx(0.61)


def test_sgd_weight_decay_enters_the_gradient():
    # gradient 1 + 0.5 * 1
    assert walk(Sgd(momentum=0.0, weight_decay=0.5), [1.0]) == pytest.approx(0.85)


def test_sgd_nesterov_by_hand():
    # v1 = 1, step 1 + 0.9 * 1
    assert walk(Sgd(momentum=0.9, weight_decay=0.0, nesterov=True), [1.0]) == pytest.approx(0.81)


def test_adamw_decays_apart_from_the_gradient():
    # 1 * (1 - 0.1 * 0.5) - 0.1 * sign(gradient): the first Adam step has size 1 whatever the gradient
    assert walk(AdamW(weight_decay=0.5), [7.0]) == pytest.approx(0.85, abs=1e-6)


def test_adamw_uses_its_averages():
    # After gradients 1, 0: m = 0.5 * 0.5 / 0.75 = 1/3; v = 0.5 * 0.5 / 0.75 = 1/3; step = (1/3) / sqrt(1/3)
    moved = walk(AdamW(weight_decay=0.0, beta1=0.5, beta2=0.5), [1.0, 0.0])
    assert moved == pytest.approx(1 - 0.1 - 0.1 * (1 / 3) ** 0.5, abs=1e-6)
