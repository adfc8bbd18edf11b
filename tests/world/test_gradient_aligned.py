"""A trigger aligned with the clean gradient: the cosine against a closed form, and pixels that raise it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from simulator.world.attacks.base import POISON
from simulator.world.attacks.gradient_aligned import Alignment, GradientAligned
from simulator.world.attacks.surrogate import SurrogateView

TARGET = 1


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int = 600) -> tuple[Tensor, Tensor]:
    """Images of three classes, told apart by which third of their columns is bright."""
    labels = torch.arange(count) % 3
    images = 0.3 * torch.rand(count, 1, 9, 9, generator=random())
    for label in range(3):
        images[labels == label, :, :, 3 * label : 3 * label + 3] += 0.5
    return images, labels


def linear(seed: int = 0) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(81, 3, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(0.3 * torch.randn(3, 81, generator=random(seed)))
    return model


def gradient(weight: np.ndarray, images: Tensor, labels: Tensor) -> np.ndarray:
    """The softmax regression's own: the mean of (probabilities - one-hot) x image, in double precision."""
    flat = images.flatten(1).double().numpy()
    scores = np.exp(flat @ weight.T)
    errors = scores / scores.sum(1, keepdims=True) - np.eye(3)[labels.numpy()]
    return (errors.T @ flat / len(flat)).ravel()


def test_a_cosine_is_that_of_the_closed_form() -> None:
    images, labels = rows()
    model = linear()
    stamped = images[labels != TARGET].clone()
    stamped[..., -2:, -2:] = 1
    weight = model[1].weight.detach().double().numpy()
    clean = gradient(weight, images, labels)
    backdoor = gradient(weight, stamped, torch.full((len(stamped),), TARGET))
    expected = clean @ backdoor / np.linalg.norm(clean) / np.linalg.norm(backdoor)
    assert Alignment(model, images, labels, TARGET).cosine(stamped) == pytest.approx(expected, abs=1e-5)


def taught(images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


def view() -> SurrogateView:
    images, labels = rows()
    return SurrogateView(images, labels, 3, random(1), taught)


def attack(**options: float) -> GradientAligned:
    return GradientAligned(target=TARGET, size=4, **{"steps": 10, **options})


def test_the_pixels_chosen_raise_the_cosine_on_rows_that_did_not_choose_them() -> None:
    plain = attack()
    ready = plain.prepared(view())
    measured = ready.measured
    assert measured["gradient cosine after"] > measured["gradient cosine before"] + 0.05
    assert plain.measured == {}
    images, labels = rows(90)
    surrogate = taught(*_poisoned(plain), epochs=4)
    alignment = Alignment(surrogate, *rows(), TARGET)
    others = images[labels != TARGET]
    assert alignment.cosine(ready.stamp(others)) > alignment.cosine(plain.stamp(others))


def _poisoned(plain: GradientAligned) -> tuple[Tensor, Tensor]:
    found = plain.poison(*rows(), 0.1, random(1))
    return found.images, found.labels


def test_only_the_square_is_changed_and_by_the_same_pixels_in_every_image() -> None:
    ready = attack().prepared(view())
    images, labels = rows(30)
    stamped = ready.stamp(images)
    assert torch.equal(stamped[..., :5, :], images[..., :5, :])
    assert torch.equal(stamped[..., :, :5], images[..., :, :5])
    square = stamped[..., 5:, 5:]
    assert (square == square[:1]).all()
    assert len(square[0].unique()) > 1
    assert not torch.equal(square, attack().stamp(images)[..., 5:, 5:])
    half = images[..., 5:, 5:].lerp(square, 0.5)
    torch.testing.assert_close(ready.stamp(images, 0.5)[..., 5:, 5:], half)
    found = ready.poison(images, labels, 0.2, random())
    poison = found.roles == POISON
    assert int(poison.sum()) == 6
    assert TARGET not in labels[poison]
    assert torch.equal(found.images[poison], stamped[poison])
    assert (found.labels[poison] == TARGET).all()


def test_the_same_view_gives_the_same_pixels_and_another_seed_others() -> None:
    images, _ = rows(3)
    first, again, other = (a.prepared(view()).stamp(images) for a in (attack(), attack(), attack(pattern_seed=1)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_colours_have_pixels_of_their_own() -> None:
    stamped = attack().stamp(torch.zeros(1, 3, 9, 9))
    assert not torch.equal(stamped[0, 0], stamped[0, 1])


def test_own_rows_of_the_target_alone_raise() -> None:
    images, labels = rows(30)
    only = SurrogateView(images[labels == TARGET], labels[labels == TARGET], 3, random(), taught)
    with pytest.raises(ValueError, match="own rows to be of other classes than target 1 too, got none"):
        attack().prepared(only)
