"""What repairs share: batches, moved images, learning rates, held-out images, and the channels of a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from defenses.base import Context, DoesNotApply, Rows
from defenses.channels import layers, mean_activation, one_by_one
from defenses.fitting import Plan, batches, constant, cosine, expect_trusted, fine_tune, held_out, shifted, within


def _rows(count: int, size: int = 6) -> Rows:
    return Rows(torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0)), torch.arange(count) % 3)


def test_every_epoch_sees_every_row_once_and_a_single_row_is_dropped() -> None:
    drawn = list(batches(_rows(9), epochs=2, batch=4, generator=torch.Generator().manual_seed(0)))
    assert [len(rows) for rows in drawn] == [4, 4, 4, 4]  # 9 = 4 + 4 + 1
    whole = list(batches(_rows(10), epochs=1, batch=4, generator=torch.Generator().manual_seed(0)))
    assert sorted(torch.cat([rows.labels for rows in whole]).tolist()) == sorted(_rows(10).labels.tolist())
    assert Plan(epochs=3, batch=4, rate=constant(0.1)).steps(9) == 6


def test_images_are_moved_and_never_changed_in_place() -> None:
    images = _rows(40).images
    before = images.clone()
    moved = shifted(images, 0.2, torch.Generator().manual_seed(0))
    assert torch.equal(images, before)
    for image, result in zip(images, moved, strict=True):  # one of the nine moves by up to one pixel
        padded = nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")
        assert any(torch.equal(result, padded[:, y : y + 6, x : x + 6]) for y in range(3) for x in range(3))
    assert shifted(images, 0.0, torch.Generator()) is images


def test_one_step_is_the_step_of_gradient_descent() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    model[1].weight.data.zero_()
    rows = Rows(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[0.0, 1.0], [0.0, 0.0]]]]), torch.tensor([0, 1]))
    plan = Plan(epochs=1, batch=2, rate=cosine(0.5), momentum=0.0, decay=0.0, shift=0.0)
    fine_tune(model, rows, plan, torch.Generator().manual_seed(0))
    # equal logits: gradient (p - y) x / 2 = -+0.25 at the pixel of each image; times 0.5
    wanted = torch.tensor([[0.125, -0.125, 0.0, 0.0], [-0.125, 0.125, 0.0, 0.0]])
    torch.testing.assert_close(model[1].weight.data, wanted)
    assert not model.training


def test_batchnorm_ends_with_the_statistics_of_the_rows() -> None:
    rows, model = _rows(30), nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(36, 3))
    fine_tune(model, rows, Plan(epochs=1, batch=10, rate=constant(0.1)), torch.Generator().manual_seed(0))
    norm = model[0]
    torch.testing.assert_close(norm.running_mean, rows.images.mean().view(1))
    torch.testing.assert_close(norm.running_var, rows.images.var().view(1))
    assert norm.momentum == 0.1
    assert not any(module.training for module in model.modules())


def test_held_out_rows_are_none_of_the_others() -> None:
    rows = Rows(torch.zeros(7, 1, 2, 2), torch.arange(7))
    for share in (0.01, 0.5, 0.99):
        first, second = held_out(rows, share, torch.Generator().manual_seed(1))
        assert sorted([*first.labels.tolist(), *second.labels.tolist()]) == list(range(7))
        assert min(len(first), len(second)) >= 1


def test_too_few_trusted_images_are_told() -> None:
    context = Context(nn.Identity(), "", 2, torch.device("cpu"), _rows(3), torch.Generator())
    with pytest.raises(DoesNotApply, match="fine-tuning needs at least 4 trusted images, there are 3"):
        expect_trusted(context, 4, "fine-tuning")


def test_a_training_is_tried_at_half_the_strength_until_accuracy_holds() -> None:
    head = nn.Linear(1, 3, bias=False)
    head.weight.data.copy_(torch.tensor([[1.0], [0.0], [0.0]]))  # all images are of class 0
    rows = Rows(torch.ones(20, 1, 1, 1), torch.zeros(20, dtype=torch.long))
    model = nn.Sequential(nn.Flatten(), head)
    tried: list[tuple[int, float]] = []

    def train(candidate: nn.Module, given: Rows, strength: float) -> None:
        tried.append((len(given), strength))
        candidate[1].weight.data[1] = 3 * strength  # type: ignore[index]

    context = Context(model, "1", 3, torch.device("cpu"), rows, torch.Generator().manual_seed(0))
    found = within(context, train, drop=0.5, holdout=0.25)
    assert tried == [(15, 1.0), (15, 0.5), (15, 0.25)]  # 3 and 1.5 exceed 1, 0.75 does not
    assert found.evidence == {"strength": 0.25, "held_out_accuracy": {"before": 1.0, "after": 1.0}}
    assert head.weight[1].item() == 0.0
    assert within(context, train, drop=1.0, holdout=0.25).strength == 1.0


def test_a_model_that_no_training_suits_is_left_as_it_was() -> None:
    rows = Rows(torch.ones(20, 1, 1, 1), torch.zeros(20, dtype=torch.long))
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 3))
    model[1].weight.data[0] = 9.0

    def train(candidate: nn.Module, given: Rows, strength: float) -> None:
        candidate[1].weight.data[0] = -99.0  # type: ignore[index]

    context = Context(model, "1", 3, torch.device("cpu"), rows, torch.Generator().manual_seed(0))
    found = within(context, train, drop=0.0, holdout=0.5)
    assert found.model is model
    assert found.evidence == {"strength": 0.0, "held_out_accuracy": {"before": 1.0, "after": 1.0}}


class Crossed(nn.Module):
    """Registers its modules in the reverse of the order in which it runs them; one convolution has no BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.second = nn.Conv2d(2, 3, 1)
        self.first = nn.Conv2d(1, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.norm(self.second(self.first(images).relu())).mean((2, 3)))
        return logits


def _context(model: nn.Module) -> Context:
    return Context(model.eval(), "head", 3, torch.device("cpu"), _rows(12), torch.Generator().manual_seed(0))


def test_layers_are_found_in_the_order_of_execution_with_their_norm() -> None:
    model = Crossed()
    found = layers(_context(model))
    assert [(layer.name, layer.norm) for layer in found] == [("first", None), ("second", model.norm)]
    assert not any(module._forward_hooks for module in model.modules())


def test_activation_is_the_mean_over_images_and_positions_clamped_at_zero() -> None:
    model = Crossed()
    with torch.no_grad():
        model.first.weight.zero_()
        model.first.bias.copy_(torch.tensor([0.75, -2.0]))
    first, _ = layers(_context(model))
    torch.testing.assert_close(mean_activation(_context(model), first), torch.tensor([0.75, 0.0]))


def test_what_is_silenced_can_be_restored() -> None:
    model = Crossed()
    context = _context(model)
    _, second = layers(context)
    before, saved = context.logits(context.trusted.images), second.saved()
    second.silence(torch.tensor([0, 2]))
    assert not model.norm(torch.rand(2, 3, 4, 4))[:, [0, 2]].any()
    second.restore(saved)
    torch.testing.assert_close(context.logits(context.trusted.images), before)


def test_layers_called_one_by_one_keep_no_hooks() -> None:
    model = Crossed()
    with one_by_one(model):
        assert all(module._forward_hooks for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
