"""Training: it learns, it repeats itself, and it leaves alone what it should."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from simulator.batch import Batch
from simulator.production.training.evaluate import accuracy
from simulator.production.training.fit import fit
from simulator.production.training.networks import build_network
from simulator.production.training.weights import load_into
from simulator.scenario.model import Phase, Recipe, Use
from simulator.tensors import weights_digest, weights_of


def phase(epochs=2, batch=32, rate=0.05, **options):
    return Phase.model_validate(
        {"epochs": epochs, "batch": batch, "schedule": {"use": "constant", "rate": rate}, **options}
    )


def digest(model):
    return weights_digest(weights_of(model))


class WithDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))

    def forward(self, images):
        return self.body(images)


def test_learns_what_can_be_learned(small_network, bars):
    trained = fit(small_network, bars, phase(epochs=6), Recipe(), seed=1, update=False)
    assert accuracy(small_network, bars) < 0.7
    assert accuracy(trained.model, bars) > 0.97
    assert trained.losses[-1] < 0.3 * trained.losses[0]
    assert len(trained.losses) == 6
    assert not any(module.training for module in trained.model.modules())


def test_leaves_the_given_model_alone(small_network, bars):
    small_network.train()
    before = digest(small_network)
    fit(small_network, bars, phase(), Recipe(frozen=("features.0",), batchnorm="frozen"), seed=1, update=True)
    assert digest(small_network) == before
    assert all(module.training for module in small_network.modules())
    assert all(parameter.requires_grad for parameter in small_network.parameters())
    assert all(parameter.grad is None for parameter in small_network.parameters())


def test_same_seed_same_bits_other_seed_other_bits(small_network, bars):
    recipe = Recipe(augmentation="crop-flip")
    first, again, other = (fit(small_network, bars, phase(), recipe, seed=seed, update=True) for seed in (1, 1, 2))
    assert first.losses == again.losses
    assert digest(first.model) == digest(again.model) != digest(other.model)


def test_dropout_is_seeded_and_the_global_state_kept(bars):
    model = WithDropout()
    torch.manual_seed(5)
    first = fit(model, bars, phase(), Recipe(), seed=1, update=True)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again = fit(model, bars, phase(), Recipe(), seed=1, update=True)
    assert digest(first.model) == digest(again.model)


def test_one_step_equals_the_update_worked_with_autograd(bars):
    # A whole-batch step of plain SGD on a linear model, in whatever row order.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    loss = nn.functional.cross_entropy(model(bars.images), bars.labels)
    gradient = torch.autograd.grad(loss, model[1].weight)[0]
    plain = phase(epochs=1, batch=205, rate=0.5, optimizer={"use": "sgd", "momentum": 0.0, "weight_decay": 0.0})
    trained = fit(model, bars, plain, Recipe(), seed=3, update=True)
    torch.testing.assert_close(trained.model[1].weight, model[1].weight - 0.5 * gradient)
    assert trained.losses == pytest.approx((loss.item(),), rel=1e-5)


def test_rate_follows_the_schedule_step_by_step(bars):
    # With a zero rate after the first half, the second epoch changes nothing but is still counted.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    use = {"use": "step", "rate": 0.1, "factor": 1e-30, "every": 0.5}
    once = fit(model, bars, phase(epochs=1), Recipe(), seed=3, update=True)
    sgd = {"use": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    half = fit(model, bars, phase(epochs=2, schedule=use, optimizer=sgd), Recipe(), seed=3, update=True)
    full = fit(model, bars, phase(epochs=1, rate=0.1, optimizer=sgd), Recipe(), seed=3, update=True)
    torch.testing.assert_close(half.model[1].weight, full.model[1].weight)
    assert half.steps == 2 * once.steps


@pytest.mark.parametrize(
    ("rows", "batch", "used", "steps"),
    [(205, 32, 205, 7), (193, 32, 192, 6), (64, 32, 64, 2), (2, 128, 2, 1), (3, 2, 2, 1), (33, 32, 32, 1)],
)
def test_counts_rows_and_steps(small_network, bars, rows, batch, used, steps):
    few = bars.take(torch.arange(rows))
    trained = fit(small_network, few, phase(epochs=3, batch=batch), Recipe(), seed=1, update=True)
    assert (trained.samples, trained.steps) == (3 * used, 3 * steps)


def changed(before, after):
    return {name for name, value in weights_of(before).items() if not torch.equal(value, weights_of(after)[name])}


def test_frozen_layers_keep_every_bit(small_network, bars):
    recipe = Recipe(frozen=("features.0", "features.1.0.weight"))
    trained = fit(small_network, bars, phase(), recipe, seed=1, update=True)
    moved = changed(small_network, trained.model)
    assert not {name for name in moved if name.startswith("features.0.")}
    assert "features.1.0.weight" not in moved
    assert {"features.1.1.weight", "features.1.1.running_mean", "features.2.0.weight", "classifier.bias"} <= moved
    assert all(parameter.requires_grad for parameter in trained.model.parameters())


def test_freezing_counts_whole_name_parts(bars):
    torch.manual_seed(0)
    layers = [nn.Flatten(), *(nn.Linear(64, 64) for _ in range(9)), nn.Linear(64, 64), nn.Linear(64, 3)]
    model = nn.Sequential(*layers)
    trained = fit(model, bars, phase(), Recipe(frozen=("1",)), seed=1, update=True)
    moved = changed(model, trained.model)
    assert "1.weight" not in moved
    assert {"10.weight", "11.weight"} <= moved


def test_batchnorm_modes(small_network, bars):
    moved = {
        mode: changed(
            small_network,
            fit(small_network, bars, phase(), Recipe(batchnorm=mode), seed=1, update=True).model,
        )
        for mode in ("update", "fixed-statistics", "frozen")
    }
    statistics = {
        f"features.{block}.1.{name}"
        for block in range(3)
        for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    affine = {f"features.{block}.1.{name}" for block in range(3) for name in ("weight", "bias")}
    assert statistics | affine <= moved["update"]
    assert moved["update"] - moved["fixed-statistics"] == statistics
    assert moved["update"] - moved["frozen"] == statistics | affine


def test_the_base_training_ignores_what_updates_leave_alone(small_network, bars):
    plain = fit(small_network, bars, phase(), Recipe(), seed=1, update=False)
    held = fit(small_network, bars, phase(), Recipe(frozen=("features.0",), batchnorm="frozen"), seed=1, update=False)
    assert digest(plain.model) == digest(held.model)


def test_weights_that_took_a_round_trip_train_alike(bars):
    model = build_network(Use(use="resnet20"), channels=3, size=(8, 8), classes=3, seed=2)
    colour = Batch(bars.images.repeat(1, 3, 1, 1), bars.labels, bars.ids)
    other = build_network(Use(use="resnet20"), channels=3, size=(8, 8), classes=3, seed=4)
    load_into(other, load(save(weights_of(model))))
    first, second = (fit(m, colour, phase(epochs=1), Recipe(), seed=1, update=True) for m in (model, other))
    assert digest(first.model) == digest(second.model)


def test_adamw_learns_too(small_network, bars):
    trained = fit(
        small_network, bars, phase(epochs=6, rate=0.01, optimizer={"use": "adamw"}), Recipe(), seed=1, update=True
    )
    assert accuracy(trained.model, bars) > 0.9


def test_losses_start_near_the_entropy_of_the_classes(small_network, bars):
    trained = fit(small_network, bars, phase(epochs=1, rate=1e-9), Recipe(), seed=1, update=True)
    assert trained.losses[0] == pytest.approx(math.log(3), rel=0.4)
