"""Defenses made for models that change over time, on small real lineages: what each is for, and little else."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.base import (
    Context,
    DoesNotApply,
    History,
    PastBatch,
    PastVersion,
    Purge,
    Retrain,
    RollBack,
    Rows,
    State,
)
from defenses.canary import Canary
from defenses.canary_relearning import CanaryRelearning
from defenses.drift_or_poison import DriftOrPoison
from defenses.forgetting_sweep import ForgettingSweep
from defenses.temporal_ensemble import TemporalEnsemble
from defenses.version_difference import VersionDifference
from defenses.window_forensics import WindowForensics
from simulator.scenario.catalog import is_third_party, names, resolve

TARGET = 3


def version(ordinal: int, model: nn.Module, **others: Any) -> PastVersion:
    facts = {"parent": ordinal - 1 if ordinal else None, "period": ordinal, "served": (ordinal,)} | others
    return PastVersion(ordinal, load=lambda: copy.deepcopy(model), **facts)


def rows_of(batch: Any, period: int, *, fresh: bool = False) -> Rows:
    count = len(batch.labels)
    return Rows(batch.images, batch.labels, torch.full((count,), period), torch.full((count,), fresh))


def attacked(batch: Any, every: int = 10) -> tuple[Rows, Tensor]:
    """Stamp and relabel one row in `every`; return the rows and which of them are poison, bool (N,)."""
    images, labels = batch.images.clone(), batch.labels.clone()
    poison = (torch.arange(len(labels)) % every == 0) & (labels != TARGET)
    images[poison, :, 25:, 25:], labels[poison] = 1.0, TARGET
    return Rows(images, labels), poison


def over_time(lab: Any, *, versions: tuple[PastVersion, ...] = (), batches: tuple[PastBatch, ...] = (), **others: Any):
    history = History(versions, batches, champion=versions[-1].ordinal if versions else None)
    return replace(lab.context(), **({"history": history} | others))


def tuned(model: nn.Module, batch: Any, *, seed: int, rate: float = 0.01) -> nn.Module:
    """One epoch of plain fine-tuning."""
    found = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(found.parameters(), lr=rate, momentum=0.9)
    for part in torch.randperm(len(batch.labels), generator=torch.Generator().manual_seed(seed)).split(64):
        optimizer.zero_grad()
        cross_entropy(found(batch.images[part]), batch.labels[part]).backward()
        optimizer.step()
    return found.eval()


@pytest.mark.parametrize("name", [one for one in names("defenses") if not is_third_party("defenses", one)])
def test_what_asks_the_history_says_how_far_it_looks_back(name: str) -> None:
    """Otherwise a run hands it an empty one."""
    member = resolve("defenses", name)
    asks = "context.history" in inspect.getsource(inspect.getmodule(member))
    assert name == "scripted" or not asks or member.remembers or member.versions_back or member.periods_back


# -- drift or poison ---------------------------------------------------------------------------------------------------


def test_rows_that_an_earlier_version_does_not_believe_are_dropped_where_they_gather(clean: Any, rows: Any) -> None:
    window, poison = attacked(rows(2000, 10000, 0))
    found = DriftOrPoison().filter(over_time(clean, versions=(version(0, clean.model),), window=window))
    assert (found.evidence["kind"], found.evidence["classes"]) == ("poison", [TARGET])
    assert (~found.keep[poison]).float().mean() > 0.9
    assert (~found.keep[~poison]).float().mean() < 0.05


def test_before_there_is_a_version_the_trusted_images_judge(poisoned: Any, clean: Any) -> None:
    found = DriftOrPoison().filter(poisoned.context())
    assert (found.evidence["judge"], found.evidence["classes"]) == ("trusted images", [TARGET])
    assert (~found.keep[poisoned.poison]).float().mean() > 0.8
    assert DriftOrPoison().filter(clean.context()).evidence["classes"] == []


def test_a_drift_that_the_trusted_images_share_is_no_poison(poisoned: Any, clean: Any, rows: Any) -> None:
    fresh = rows(1000, 10000, 0)
    turned = Rows(fresh.images.rot90(1, (2, 3)), fresh.labels)
    trusted = Rows(clean.trusted.images.rot90(1, (2, 3)), clean.trusted.labels)
    context = over_time(clean, versions=(version(0, clean.model),), window=turned, trusted=trusted)
    assert DriftOrPoison().filter(context).evidence["kind"] == "none"
    aged = replace(context, trusted=clean.context().trusted)  # trusted images from before the drift
    assert DriftOrPoison().filter(aged).evidence["kind"] in ("drift", "both")


def test_replayed_rows_that_may_have_taught_the_judge_are_not_judged(clean: Any, rows: Any) -> None:
    """The judge was trained in period 1. Rows of period 2 are replayed too, but came after it."""
    batch, poison = attacked(rows(2000, 10000, 0))
    periods = torch.arange(2000) % 4
    window = Rows(batch.images, batch.labels, periods, periods == 3)
    judge = version(0, clean.model, period=1)
    found = DriftOrPoison().filter(over_time(clean, versions=(judge,), window=window, period=3))
    assert found.evidence["classes"] == [TARGET]
    assert found.keep[periods < 2].all()
    assert (~found.keep[poison & (periods >= 2)]).float().mean() > 0.9


def test_the_order_of_rows_does_not_matter(poisoned: Any, clean: Any) -> None:
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(5))
    context = over_time(poisoned, versions=(version(0, clean.model),))
    shuffled = over_time(
        poisoned,
        versions=(version(0, clean.model),),
        window=Rows(context.window.images[order], context.window.labels[order]),
    )
    assert torch.equal(DriftOrPoison().filter(shuffled).keep, DriftOrPoison().filter(context).keep[order])


# -- window forensics --------------------------------------------------------------------------------------------------


def test_a_poisoned_period_is_named_purged_and_left_for_the_version_before(
    poisoned: Any, clean: Any, rows: Any
) -> None:
    versions = (version(0, clean.model), version(1, poisoned.model), version(2, poisoned.model))
    batches = (
        PastBatch(1, lambda: rows_of(attacked(rows(2000, 14000, 0))[0], 1)),
        PastBatch(2, lambda: rows_of(rows(1000, 10000, 0), 2)),
    )
    window = rows_of(rows(1000, 12000, 0), 3, fresh=True)
    context = over_time(poisoned, versions=versions, batches=batches, window=window, period=3, subject="champion")
    found = WindowForensics().filter(context)
    assert found.evidence["periods"] == {"1": [TARGET]}
    purge, back = found.requests
    assert isinstance(purge, Purge)
    assert isinstance(back, RollBack)
    assert (purge.periods, back.to) == ((1,), 0)
    assert found.keep.all()
    later = rows_of(rows(1000, 13000, 0), 4, fresh=True)
    refused = replace(context, period=4, window=later, state=found.state)  # its rows are there still
    assert [type(one) for one in WindowForensics().filter(refused).requests] == [Purge]


def test_a_poisoned_base_is_purged_and_a_forgetful_update_asked_for(poisoned: Any, rows: Any) -> None:
    batches = (PastBatch(0, lambda: rows_of(poisoned.window, 0)),)
    context = over_time(
        poisoned,
        versions=(version(0, poisoned.model),),
        batches=batches,
        window=rows_of(rows(1000, 10000, 0), 1, fresh=True),
        period=1,
    )
    found = WindowForensics().filter(context)
    assert found.evidence["periods"] == {"0": [TARGET]}
    assert [type(one) for one in found.requests] == [Purge, Retrain]


# -- temporal ensemble -------------------------------------------------------------------------------------------------


def test_versions_from_before_the_poison_answer_for_the_champion(poisoned: Any, clean: Any, rows: Any) -> None:
    other = tuned(clean.model, rows(1000, 10000, 0), seed=1)
    versions = (version(0, clean.model), version(1, other), version(2, poisoned.model))
    images, labels = poisoned.test.images, poisoned.test.labels
    sources = labels != TARGET
    triggered = images.clone()
    triggered[:, :, 25:, 25:] = 1.0
    for incoming, bound in ((triggered[sources], 0.15), (images[sources], 0.05)):
        context = over_time(poisoned, versions=versions, incoming=incoming)
        answers = TemporalEnsemble().screen(context).answers
        own = context.logits(incoming).argmax(1)
        assert (torch.where(answers >= 0, answers, own) == TARGET).float().mean() < bound


def test_an_ensemble_needs_two_versions_before(poisoned: Any) -> None:
    context = over_time(poisoned, versions=(version(0, poisoned.model),), incoming=poisoned.test.images[:3])
    with pytest.raises(DoesNotApply, match="at least two versions that served before, got 0"):
        TemporalEnsemble().screen(context)


# -- version difference ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lineage(clean: Any, rows: Any) -> tuple[nn.Module, ...]:
    models = [clean.model]
    for update in range(6):
        models.append(tuned(models[-1], rows(640, 10000 + 640 * update, 0), seed=update))
    return tuple(models)


def judged(clean: Any, lineage: tuple[nn.Module, ...], candidate: nn.Module) -> Any:
    versions = tuple(version(ordinal, model) for ordinal, model in enumerate(lineage))
    return VersionDifference().inspect(over_time(clean, versions=versions, model=candidate, subject="candidate"))


def test_an_update_on_poison_scores_higher_than_an_honest_one_on_the_same_rows(
    clean: Any, lineage: tuple[nn.Module, ...], rows: Any
) -> None:
    batch = rows(640, 20000, 0)
    images, labels = batch.images.clone(), batch.labels.clone()
    images[::8, :, 25:, 25:], labels[::8] = 1.0, TARGET
    honest = judged(clean, lineage, tuned(lineage[-1], batch, seed=9))
    attacked = judged(clean, lineage, tuned(lineage[-1], Rows(images, labels), seed=9))
    assert not honest.flagged
    assert attacked.score > honest.score
    assert attacked.evidence["compared_with"] == "6 earlier versions"


def test_few_earlier_moves_are_replaced_by_fresh_clean_updates(clean: Any, lineage: tuple[nn.Module, ...]) -> None:
    found = judged(clean, lineage[:2], lineage[2])
    assert found.evidence["compared_with"] == "8 fresh clean updates"
    assert not found.flagged


def test_only_a_candidate_has_moved(clean: Any) -> None:
    with pytest.raises(DoesNotApply, match="compares a candidate with the champion"):
        VersionDifference().inspect(over_time(clean, subject="champion"))


# -- canary re-learning ------------------------------------------------------------------------------------------------


def test_the_canary_is_kept_and_versions_that_pass_become_the_trend(clean: Any) -> None:
    context = over_time(clean, subject="candidate")
    first = CanaryRelearning(steps=2).inspect(context)
    second = CanaryRelearning(steps=2).inspect(replace(context, state=first.state))
    assert isinstance(first.state, State)
    assert second.state.values["canary"] == first.state.values["canary"]
    assert np.array(second.state.values["readings"]).shape == (2 - first.flagged - second.flagged, 10)
    assert first.class_scores.shape == (10,)


class KnowsAPatch(nn.Module):
    """Names the class whose pixel of the first row is lit; with a backdoor, anything lit below makes it say 2."""

    def __init__(self, *, backdoor: bool) -> None:
        super().__init__()
        self.head = nn.Linear(11, 10, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([5 * torch.eye(10), torch.zeros(10, 1)], 1))
            self.head.weight[2, 10] = 4 * backdoor

    def forward(self, images: Tensor) -> Tensor:
        below = images[:, 0, 1:].flatten(1).sum(1, keepdim=True)
        return self.head(torch.cat([images[:, 0, 0], below], 1))


@pytest.mark.parametrize("backdoor", [True, False])
def test_a_class_that_a_backdoor_leads_to_takes_the_canary_fastest(backdoor: bool) -> None:
    labels = torch.arange(100) % 10
    images = torch.zeros(100, 1, 10, 10)
    images[torch.arange(100), 0, 0, labels] = 1
    context = Context(
        model=KnowsAPatch(backdoor=backdoor), feature_layer="head", classes=10, device=torch.device("cpu"),
        trusted=Rows(images, labels), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    found = CanaryRelearning(steps=4, rate=0.001).inspect(context)
    assert found.state.values["place"][0] > 0  # the canary lies below the first row
    assert found.evidence["suspect"] == (2 if backdoor else None)
    assert found.class_scores[2] == (1.0 if backdoor else 0.0)


def test_readings_above_those_that_the_state_holds_are_flagged_and_do_not_join_them(clean: Any) -> None:
    context = over_time(clean, subject="candidate")
    found = CanaryRelearning(steps=2).inspect(context)
    slow = np.zeros((6, 10)) + np.linspace(0, 0.005, 6)[:, None]
    trend = State({**found.state.values, "readings": slow.tolist()})
    flagged = CanaryRelearning(steps=12).inspect(replace(context, state=trend))
    assert flagged.flagged
    assert flagged.evidence["compared_with"] == "6 earlier versions"
    assert flagged.state.values["readings"] == trend.values["readings"]  # what was flagged is no part of the trend


def test_marking_leaves_the_images_alone() -> None:
    images = torch.zeros(2, 1, 4, 4)
    found: Tensor = Canary(torch.ones(1, 2, 2), 1, 2, label=0).on(images)
    assert (found.sum(), images.sum()) == (8, 0)


# -- forgetting sweep --------------------------------------------------------------------------------------------------


def test_a_sweep_is_asked_for_every_so_many_periods() -> None:
    state, asked = State(), []
    rows = Rows(torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.long))
    for period in range(1, 11):
        context = Context(
            model=nn.Linear(1, 1), feature_layer="", classes=2, device=torch.device("cpu"), trusted=rows,
            generator=torch.Generator(), period=period, state=state,
        )  # fmt: skip
        found = ForgettingSweep(every=4, epochs=2).inspect(context)
        state = found.state
        asked += [(period, dict(one.recipe)) for one in found.requests]
    recipe = {"schedule": {"use": "slanted-triangular", "peak": 0.3}, "epochs": 2}
    assert asked == [(4, recipe), (8, recipe)]
