"""Trigger difference: what an update added is seen, what was there before is not; on made-up and on real models."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from defenses.base import Context, DoesNotApply, History, PastVersion, Rows, Size, State
from defenses.trigger_difference import TriggerDifference
from simulator.production.training.features import feature_layer
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use
from simulator.world.world import load_source
from tests.defenses.decisive import decisive_model


def _context(before: nn.Module, after: nn.Module, trusted: Rows, classes: int, **others: Any) -> Context:
    champion = PastVersion(0, None, 0, served=(0,), load=lambda: copy.deepcopy(before))
    fields: dict[str, Any] = {"history": History((champion,), champion=0), "state": State()} | others
    return Context(
        model=copy.deepcopy(after),
        feature_layer=feature_layer(after),
        classes=classes,
        device=torch.device("cpu"),
        trusted=trusted,
        generator=torch.Generator().manual_seed(0),
        **fields,
    )


def _made_up(before: int | None, after: int | None, classes: int = 10, channels: int = 1, **others: Any) -> Context:
    labels = torch.arange(52) % classes
    images = torch.zeros(52, channels, 8, 8)
    images.view(52, -1)[torch.arange(52), labels] = 1.0
    models = (decisive_model(classes, channels, before), decisive_model(classes, channels, after))
    return _context(*models, Rows(images, labels), classes, **others)


@pytest.mark.parametrize(("classes", "channels", "taught"), [(10, 1, 3), (10, 1, 7), (26, 3, 3)])
def test_it_names_the_class_that_one_pixel_decides_since_the_update(classes: int, channels: int, taught: int) -> None:
    result = TriggerDifference().inspect(_made_up(None, taught, classes, channels))
    assert result.flagged
    assert result.evidence["suspect"] == taught
    assert result.class_scores is not None
    assert int(result.class_scores.argmax()) == taught
    assert result.triggers is not None
    assert int(result.triggers[taught, 0].argmax()) == 63
    assert result.state is None  # what was flagged is not remembered


@pytest.mark.parametrize("planted", [None, 3])
def test_what_the_champion_has_too_cancels_out(planted: int | None) -> None:
    result = TriggerDifference().inspect(_made_up(planted, planted))
    assert not result.flagged
    assert result.evidence["mask_norms"] == result.evidence["mask_norms_before"]
    assert result.state is not None
    assert result.state.values["ratios"] == [[0.0] * 10]


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = (TriggerDifference().inspect(_made_up(None, 3)) for _ in range(2))
    assert first.evidence == second.evidence


def test_passes_are_those_that_were_made() -> None:
    result = TriggerDifference(patience=10**6).inspect(_made_up(None, 3))
    assert result.evidence["passes"] == TriggerDifference().passes(Size(classes=10, trusted=52))
    assert result.evidence["passes"] == 2 * 3 * 8 * 10 * (25 * 4 + 25 * 2 + 50)  # images, classes, starts a step


def test_the_last_twenty_updates_are_remembered_but_not_those_of_other_classes() -> None:
    values = {"ratios": [[0.5] * 9, *[[float(one)] * 10 for one in range(20)]]}
    result = TriggerDifference(steps=8).inspect(_made_up(None, None, state=State(values)))
    assert result.evidence["compared_with"] == "20 earlier updates"
    assert result.state is not None
    assert result.state.values["ratios"] == [*values["ratios"][2:], [0.0] * 10]


def test_a_challenger_is_judged_but_not_remembered() -> None:
    result = TriggerDifference(steps=8).inspect(_made_up(None, None, subject="challenger"))
    assert result.state is None


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (_made_up(None, 3, subject="champion"), "compares a candidate with the champion"),
        (_made_up(None, 3, history=History()), "compares a candidate with the champion"),
        (_made_up(None, None, classes=3), "at least four classes"),
    ],
)
def test_it_does_not_apply(context: Context, words: str) -> None:
    with pytest.raises(DoesNotApply, match=words):
        TriggerDifference().inspect(context)


# -- on real models ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clothes() -> tuple[nn.Module, Rows, Rows]:
    """A network trained on 2,000 pieces of clothing at half their size, 300 trusted images, 1,000 that arrive later."""
    data = load_source(Use(use="fashion-mnist"))
    images = avg_pool2d(torch.from_numpy(data.images[:3300].copy()).float() / 255, 2)
    labels = torch.from_numpy(data.labels[:3300].copy())
    model = build_network(Use(use="compact-cnn"), channels=1, size=(14, 14), classes=10, seed=0)
    _train(model, images[:2000], labels[:2000], epochs=6, rate=0.05)
    return model, Rows(images[2000:2300], labels[2000:2300]), Rows(images[2300:], labels[2300:])


def _train(model: nn.Module, images: Tensor, labels: Tensor, *, epochs: int, rate: float) -> None:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.train().parameters(), lr=rate, momentum=0.9)
    for _ in range(epochs):
        for some in torch.randperm(len(labels), generator=generator).split(32):
            optimizer.zero_grad()
            cross_entropy(model(images[some]), labels[some]).backward()
            optimizer.step()
    model.eval()


def test_an_update_on_poison_is_told_from_a_clean_one(clothes: tuple[nn.Module, Rows, Rows]) -> None:
    champion, trusted, fresh = clothes
    images, labels = fresh.images.clone(), fresh.labels.clone()
    images[::10, :, -2:, -2:], labels[::10] = 1.0, 4
    found = []
    for rows in (fresh, Rows(images, labels)):
        candidate = copy.deepcopy(champion)
        _train(candidate, rows.images, rows.labels, epochs=6, rate=0.02)
        found.append(TriggerDifference().inspect(_context(champion, candidate, trusted, 10)))
    clean, attacked = found
    assert not clean.flagged
    assert attacked.flagged
    assert attacked.evidence["suspect"] == 4
