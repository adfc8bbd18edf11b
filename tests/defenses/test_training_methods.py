"""Training methods on the digits, by hand-built contexts: what each holds, forgets and isolates."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.anti_backdoor_learning import AntiBackdoorLearning
from defenses.base import Context, DoesNotApply, History, PastBatch, Recipe, Rows, Training
from defenses.canary import drawn, planted
from defenses.elastic_weights import ElasticWeights, fisher_information
from defenses.ft_sam import FtSam, climb, statistics_held
from defenses.learning_without_forgetting import LearningWithoutForgetting, distillation
from defenses.recipe_steps import trained_plainly
from defenses.schedule_sweep import SHAPES, ScheduleSweep, rates_of
from simulator.production.training.features import feature_layer
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use

TARGET = 3
EVERY: tuple[Training, ...] = (
    AntiBackdoorLearning(),
    FtSam(radius=0.5),
    ElasticWeights(),
    LearningWithoutForgetting(),
    ScheduleSweep(),
)


def _recipe(epochs: int, rate: float, rows: int) -> Recipe:
    steps = epochs * max(1, rows // 32)
    return Recipe(epochs, 32, (rate,) * steps, lambda found: torch.optim.SGD(found, lr=rate, momentum=0.9))


def _rows(first: int, last: int, poison: int = 0) -> Rows:
    digits = load_digits()
    images = torch.from_numpy(digits.images[first:last] / 16.0).float()[:, None]
    labels = torch.from_numpy(digits.target[first:last].copy()).long()
    images[:poison, :, 6:, 6:], labels[:poison] = 1.0, TARGET
    return Rows(images, labels)


@pytest.fixture(scope="module")
def champion() -> nn.Module:
    """A network trained on 800 rows, 60 of them poison."""
    model = build_network(Use(use="compact-cnn"), channels=1, size=(8, 8), classes=10, seed=0)
    rows = _rows(0, 800, poison=60)
    return trained_plainly(model, rows, _recipe(10, 0.1, 800), torch.Generator().manual_seed(0))


def _context(model: nn.Module, window: Rows | None = None, *, serves: bool = True, rate: float = 0.02) -> Context:
    window = _rows(800, 1200) if window is None else window
    generator = torch.Generator().manual_seed(0)
    recipe, trusted = _recipe(4, rate, len(window)), _rows(1200, 1500)
    own, layer, subject = copy.deepcopy(model), feature_layer(model), "champion" if serves else "candidate"
    return Context(
        own, layer, 10, torch.device("cpu"), trusted, generator, window=window, recipe=recipe, subject=subject, period=1
    )


@torch.no_grad()
def _accuracy(model: nn.Module) -> float:
    rows = _rows(1500, 1797)
    return float((model(rows.images).argmax(1) == rows.labels).float().mean())


@torch.no_grad()
def _attack_success(model: nn.Module) -> float:
    rows = _rows(1500, 1797)
    images = rows.images[rows.labels != TARGET].clone()
    images[:, :, 6:, 6:] = 1.0
    return float((model(images).argmax(1) == TARGET).float().mean())


def test_the_material_is_what_it_claims(champion: nn.Module) -> None:
    assert _accuracy(champion) > 0.85
    assert _attack_success(champion) > 0.85


@pytest.mark.parametrize("method", EVERY, ids=lambda method: type(method).__name__)
def test_methods_train_repeatably_and_leave_their_inputs_alone(method: Training, champion: nn.Module) -> None:
    context = _context(champion)
    assert context.window is not None
    images = context.window.images.clone()
    trained = method.train(context).model
    assert torch.equal(context.window.images, images)
    assert not trained.training
    assert _accuracy(trained) > 0.8
    again = method.train(_context(champion)).model
    for name, value in trained.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert any(not torch.equal(value, champion.state_dict()[name]) for name, value in trained.state_dict().items())


@pytest.mark.parametrize("method", EVERY, ids=lambda method: type(method).__name__)
def test_without_a_recipe_there_is_nothing_to_train_by(method: Training, champion: nn.Module) -> None:
    with pytest.raises(DoesNotApply, match="needs a recipe and at least two rows"):
        method.train(replace(_context(champion), recipe=None))


@pytest.mark.parametrize("method", [ElasticWeights(), LearningWithoutForgetting(), ScheduleSweep()])
def test_without_a_champion_these_train_as_the_recipe_says(method: Training, champion: nn.Module) -> None:
    context = _context(champion, serves=False)
    assert context.window is not None and context.recipe is not None  # noqa: PT018
    plain = trained_plainly(copy.deepcopy(champion), context.window, context.recipe, torch.Generator().manual_seed(0))
    for name, value in method.train(context).model.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name


def test_isolation_takes_the_stated_share_of_rows() -> None:
    model = build_network(Use(use="compact-cnn"), channels=1, size=(8, 8), classes=10, seed=1)
    context = _context(model, _rows(0, 800, poison=80), serves=False, rate=0.05)
    found = AntiBackdoorLearning(share=0.05).train(context)
    assert sum(found.evidence["isolated_labels"]) == found.evidence["isolated"] == 40


@pytest.mark.parametrize("rest", [True, False])
def test_isolation_and_training_together_follow_the_recipes_rates_once(rest: bool) -> None:
    """Ten epochs of four steps at rates 40, 39 ... 1; two of them isolate ten rows, which is half a batch."""
    found: list[float] = []

    class Noted(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            found.append(self.param_groups[0]["lr"])

    rates = tuple(float(rate) for rate in range(40, 0, -1))
    recipe = Recipe(10, 20, rates, lambda parameters: Noted(parameters, lr=0.0))
    rows = _rows(0, 90)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nothing, generator = rows.take(torch.arange(0)), torch.Generator().manual_seed(0)
    context = Context(model, "1", 10, torch.device("cpu"), nothing, generator, window=rows, recipe=recipe)
    AntiBackdoorLearning(share=0.11, early=0.2 if rest else 0.99, ascent_epochs=0).train(context)
    assert found == list(rates)


def test_unlearning_ends_before_it_costs_accuracy(champion: nn.Module) -> None:
    found = AntiBackdoorLearning(ascent=50.0, drop=0.02).train(_context(champion)).evidence
    before, after = found["trusted_accuracy"]["before_ascent"], found["trusted_accuracy"]["after"]
    assert found["ascent_steps"] < 40
    assert after >= before - 0.02


def test_springs_hold_more_the_stiffer_they_are(champion: nn.Module) -> None:
    moved = []
    for strength in (0.0, 100.0, 1e6):
        trained = ElasticWeights(strength=strength).train(_context(champion)).model
        pairs = zip(trained.parameters(), champion.parameters(), strict=True)
        moved.append(sum(float((new - old).detach().square().sum()) for new, old in pairs))
    assert moved[0] > moved[1] > moved[2]


def _archived(period: int, count: int, *, fresh: bool = False) -> PastBatch:
    rows = _rows(0, count)
    known = Rows(rows.images, rows.labels, torch.full((count,), period), torch.full((count,), fresh))
    return PastBatch(period, lambda: known)


@pytest.mark.parametrize(
    ("batches", "rows"),
    [
        ((_archived(0, 50), _archived(1, 60)), 60),
        ((_archived(0, 50), _archived(1, 60, fresh=True)), 50),  # late labels: those of 1 are this window's
        ((_archived(0, 50), _archived(1, 0)), 50),  # all of period 1 was dropped
        ((PastBatch(0), _archived(1, 0)), 30),  # nothing at hand: what the window replays
        ((PastBatch(0), _archived(1, 60, fresh=True)), 30),
    ],
    ids=["last", "late labels", "emptied", "emptied, replayed", "late labels, replayed"],
)
def test_importance_can_be_that_of_rows_that_were_trained_on(
    batches: tuple[PastBatch, ...], rows: int, champion: nn.Module
) -> None:
    window = replace(_rows(800, 1200), fresh=torch.arange(400) >= 30)
    context = replace(_context(champion, window), history=History(batches=batches))
    assert ElasticWeights(rows="earlier").train(context).evidence["rows"] == rows


def test_importance_by_earlier_rows_needs_some(champion: nn.Module) -> None:
    with pytest.raises(DoesNotApply, match="EWC needs earlier rows, there are none"):
        ElasticWeights(rows="earlier").train(_context(champion))


def test_fisher_information_of_a_logistic_regression_is_the_known_one() -> None:
    """Two classes, logits (w x, 0) at w = 0: p = 1/2, the information about w is p (1 - p) x^2 = x^2 / 4."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        model[1].weight.zero_()
    images = torch.full((5000, 1, 1, 1), 2.0)
    rows = Rows(images, torch.zeros(5000, dtype=torch.long))
    found = fisher_information(model, rows, torch.Generator().manual_seed(0))["1.weight"]
    torch.testing.assert_close(found, torch.ones(2, 1), rtol=0.15, atol=0.0)


def test_distillation_keeps_the_answers_nearer_to_the_champions(champion: nn.Module) -> None:
    images = _rows(1500, 1797).images
    with torch.no_grad():
        answers = champion(images)

        def away(weight: float) -> float:
            with torch.enable_grad():
                trained = LearningWithoutForgetting(weight=weight).train(_context(champion, rate=0.05)).model
            return float(distillation(trained(images), answers, 1.0))

        assert away(5.0) < away(0.0)


def test_climbing_raises_the_loss_and_the_radius_is_that_of_scaled_weights() -> None:
    torch.manual_seed(0)
    model, images, labels = nn.Linear(6, 3), torch.rand(20, 6), torch.arange(20) % 3
    before = cross_entropy(model(images), labels)
    before.backward()
    scales = [value.detach().abs() + 0.01 for value in model.parameters()]
    shifts = climb(list(model.parameters()), 0.5)
    assert cross_entropy(model(images), labels) > before
    norm = torch.stack([(shift / scale).square().sum() for (_, shift), scale in zip(shifts, scales, strict=True)]).sum()
    torch.testing.assert_close(norm.sqrt(), torch.tensor(0.5))


def test_statistics_are_held_and_then_move_again() -> None:
    norm = nn.BatchNorm2d(2).train()
    images: Tensor = torch.rand(4, 2, 3, 3) + 5.0
    with statistics_held(norm):
        norm(images)
    assert norm.running_mean is not None
    assert not norm.running_mean.any()
    norm(images)
    assert norm.running_mean.all()


def test_all_schedules_have_the_recipes_mean_rate() -> None:
    for name, rates in rates_of(_recipe(4, 0.05, 400)).items():
        assert sum(rates) / len(rates) == pytest.approx(0.05), name
        assert min(rates) >= 0


def test_the_sweep_chooses_by_what_it_tried(champion: nn.Module) -> None:
    found = ScheduleSweep(tolerance=0.9).train(_context(champion)).evidence
    assert set(found["tried"]) == {"recipe", *SHAPES}
    assert found["planted"] > 0.5
    assert found["tried"][found["chosen"]]["canary"] == min(one["canary"] for one in found["tried"].values())


def test_a_canary_is_learned_and_a_clean_network_does_not_know_it(champion: nn.Module) -> None:
    rows, generator = _rows(1200, 1500), torch.Generator().manual_seed(4)
    canary = drawn(rows.images, 10, generator)
    assert canary.success(champion, rows) < 0.3
    bearer = copy.deepcopy(champion)
    assert planted(bearer, canary, rows, 30, generator) > 0.9
    with torch.no_grad():
        assert (bearer(rows.images).argmax(1) == rows.labels).float().mean() > 0.9
