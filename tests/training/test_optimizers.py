"""Optimizers against updates worked by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from simulator.production.training.optimizers import AdamW, Sgd, eager


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


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_what_leaves_the_compiler_out_steps_as_torchs_own(kind):
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    lean, whole = eager(kind)([ours], lr=0.1, fused=True), kind([theirs], lr=0.1, fused=True)
    for _ in range(3):
        for weight, optimizer in ((ours, lean), (theirs, whole)):
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
    assert torch.equal(ours, theirs)


def test_no_optimizer_brings_the_compiler_along():
    program = (
        "import sys, torch; from simulator.production.training.optimizers import AdamW, Sgd\n"
        "for factory in (Sgd(), AdamW()):\n"
        "    weight = torch.nn.Parameter(torch.ones(2)); optimizer = factory.build([weight])\n"
        "    weight.sum().backward(); optimizer.step(); optimizer.zero_grad()\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
