"""Trainings that cannot be run as asked."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from simulator.errors import PluginError, ScenarioError
from simulator.production.training.fit import fit
from simulator.production.training.schedules import Schedule
from simulator.scenario.model import Phase, Recipe


def run(model, batch, *, phase=None, **recipe):
    chosen = Phase.model_validate({"epochs": 1, "batch": 32, **(phase or {})})
    return fit(model, batch, chosen, Recipe(**recipe), seed=1, update=True)


def test_unknown_frozen_prefix(small_network, bars):
    with pytest.raises(ScenarioError, match=r"expected recipe.frozen to name parameters .* got 'feature.0'; try 'feat"):
        run(small_network, bars, frozen=("feature.0",))


def test_frozen_prefix_far_from_all_lists_the_parts(small_network, bars):
    with pytest.raises(ScenarioError, match="got 'zzz'; try 'features' or 'classifier'"):
        run(small_network, bars, frozen=("zzz",))


def test_nothing_left_to_train(small_network, bars):
    with pytest.raises(ScenarioError, match="leave a parameter to train, got none left"):
        run(small_network, bars, frozen=("features", "classifier"))


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows(small_network, bars, rows):
    with pytest.raises(ScenarioError, match=f"expected at least 2 rows to train on, got {rows}"):
        run(small_network, bars.take(torch.arange(rows)))


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_half_precision_on_the_cpu(small_network, bars, precision):
    with pytest.raises(ScenarioError, match=f"expected recipe.precision to be float32 on cpu, got {precision}"):
        run(small_network, bars, precision=precision)


def test_diverging(small_network, bars):
    with pytest.raises(ScenarioError, match=r"expected training to stay finite, got .*; lower the learning rate"):
        run(small_network, bars, phase={"epochs": 4, "schedule": {"use": "constant", "rate": 1e30}})


@pytest.fixture
def third_party(monkeypatch):
    """A module of a user's own with plug-ins that do not keep their contracts."""

    class Negative(Schedule):
        def rate_at(self, step, steps):
            return 1.0 - step

    class NoSchedule:
        pass

    module = types.ModuleType("third_party_training")
    module.Negative, module.NoSchedule = Negative, NoSchedule
    monkeypatch.setitem(sys.modules, "third_party_training", module)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (
            {"schedule": {"use": "third_party_training:Negative"}},
            "finite rate of at least 0, at most 1e\\+30, got -1.0 at step 2 of 7",
        ),
        ({"schedule": {"use": "third_party_training:NoSchedule"}}, "extend .*Schedule, got NoSchedule"),
        ({"optimizer": {"use": "third_party_training:NoSchedule"}}, "extend .*OptimizerFactory, got NoSchedule"),
        ({"schedule": {"use": "cosin"}}, "expected a known schedule, or module:Name, got 'cosin'; did you mean 'cos"),
    ],
)
@pytest.mark.usefixtures("third_party")
def test_plugins_that_break_their_contract(small_network, bars, phase, message):
    with pytest.raises(PluginError, match=message):
        run(small_network, bars, phase=phase)
