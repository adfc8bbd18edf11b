"""Trainings in one stack: what each alone would have given, in double precision to the last digits but a few."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from simulator.batch import Batch
from simulator.errors import PluginError, ScenarioError, WorkerError
from simulator.production.cohort import groups
from simulator.production.cohort.groups import Groups, signature
from simulator.production.cohort.operations import NotStackable
from simulator.production.cohort.optimizers import stacked
from simulator.production.cohort.rendezvous import Rendezvous
from simulator.production.cohort.stack import StackedNetwork
from simulator.production.cohort.together import fit_together
from simulator.production.training.job import Job, Trained
from simulator.production.training.networks import build_network
from simulator.production.training.optimizers import AdamW, Sgd
from simulator.production.update import fitted
from simulator.scenario.model import Phase, Recipe, Use


def job(
    seed: int,
    network: str = "standard-cnn",
    rows: int = 70,
    optimizer: str = "sgd",
    update: bool = False,
    **recipe: Any,
) -> Job:
    """A small training in double precision; the rate depends on the seed."""
    draw = torch.Generator().manual_seed(seed)
    start = build_network(Use(use=network), channels=1, size=(12, 12), classes=3, seed=seed).double()
    images = torch.rand(rows, 1, 12, 12, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 3, (rows,), generator=draw)
    schedule = Use.model_validate({"use": "one-cycle", "peak": 0.02 * (seed + 1)})
    phase = Phase(epochs=2, batch=32, optimizer=Use(use=optimizer), schedule=schedule)
    return Job(
        start,
        Batch(images, labels, torch.arange(rows)),
        phase,
        Recipe(network=Use(use=network), **recipe),
        seed,
        update,
    )


def expect_equal(found: Trained | Exception, expected: Trained) -> None:
    assert isinstance(found, Trained)
    assert (found.samples, found.steps) == (expected.samples, expected.steps)
    assert found.losses == pytest.approx(expected.losses, rel=1e-6)  # `fit` adds them in single precision
    theirs = expected.model.state_dict()
    for name, value in found.model.state_dict().items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-9, atol=1e-10)
    assert not found.model.training


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"network": "compact-cnn"},
        {"network": "resnet20", "rows": 20},
        {"optimizer": "adamw"},
        {"augmentation": "crop-flip"},
        {"rows": 65},  # a single left-over row is dropped
        {"update": True, "frozen": ("features.0",), "batchnorm": "fixed-statistics"},
        {"update": True, "batchnorm": "frozen"},
    ],
)
def test_a_stack_gives_what_each_alone_gives(keys: dict[str, Any]) -> None:
    jobs = [job(seed, **keys) for seed in range(3)]
    for one, found in zip(jobs, fit_together(jobs), strict=True):
        expect_equal(found, fitted(one))


def test_a_large_network_answers_as_each_alone() -> None:
    networks = [build_network(Use(use="resnet18"), channels=3, size=(8, 8), classes=4, seed=seed) for seed in range(2)]
    images = torch.rand(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = StackedNetwork(networks)(images.transpose(0, 1).flatten(1, 2))
        for member, network in enumerate(networks):
            torch.testing.assert_close(together[:, member], network(images[member]), rtol=1e-4, atol=1e-4)


def test_in_single_precision_losses_agree_to_the_tolerance_that_is_stated() -> None:
    jobs = [
        replace(one, start=one.start.float(), rows=replace(one.rows, images=one.rows.images.float()))
        for one in map(job, range(3))
    ]
    for one, found in zip(jobs, fit_together(jobs), strict=True):
        assert isinstance(found, Trained)
        assert found.losses == pytest.approx(fitted(one).losses, abs=1e-3)


@pytest.mark.parametrize("factory", [Sgd(), Sgd(momentum=0.5, nesterov=True), Sgd(momentum=0.0), AdamW()])
def test_stacked_optimizers_step_as_torchs_do(factory: Sgd | AdamW) -> None:
    rates = (0.1, 0.01)
    whole = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3).requires_grad_()
    alone = [nn.Parameter(whole[index].detach().clone()) for index in range(2)]
    stack, theirs = stacked(factory, [whole]), [factory.build([one]) for one in alone]
    assert stack is not None
    for _ in range(4):
        whole.grad = None
        whole.pow(3).sum().backward()
        stack.step(torch.tensor(rates, dtype=torch.float64))
        for one, optimizer, rate in zip(alone, theirs, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            one.pow(3).sum().backward()
            optimizer.step()
    torch.testing.assert_close(whole.detach(), torch.stack([one.detach() for one in alone]), rtol=1e-12, atol=1e-12)


class _Mixes(nn.Module):
    """Adds its channels up: members side by side would be added to one another."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(1, 4, 3)
        self.last = nn.Linear(1, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.inner(images).sum((1, 2, 3)).unsqueeze(1))
        return found


class _Tied(nn.Module):
    """One weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.last.weight = self.first.weight

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.first(images))
        return found


def _hooked() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 3, 3))
    network[0].register_forward_hook(lambda module, inputs, output: output * 2)
    return network


class _Means(nn.Module):
    """Takes means along one axis: fine alone, and not stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.inner(images).mean(-1).mean(-1))
        return found


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (_Tied(), "it uses weights under two names"),
        (_hooked(), "it uses a hook on Conv2d"),
        (_Mixes(), "it uses Tensor.sum"),
        (nn.Sequential(nn.Flatten(), nn.Linear(144, 3)), "it uses Flatten"),
        (nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, padding_mode="reflect")), "padding by reflect"),
        (nn.Sequential(nn.Dropout()), "it uses Dropout"),
    ],
)
def test_what_cannot_be_stacked_says_why(network: nn.Module, why: str) -> None:
    with pytest.raises(NotStackable, match=why):
        StackedNetwork([network, network])


def test_what_cannot_be_stacked_is_trained_alone_and_said() -> None:
    heard: list[str] = []
    jobs = [replace(job(seed), start=_Mixes().double()) for seed in range(2)]
    for one, found in zip(jobs, Groups(limit=8, tell=heard.append)(jobs), strict=True):
        expect_equal(found, fitted(one))
    assert heard == ["network 'standard-cnn' is trained alone, not in a cohort: it uses Tensor.sum"]


def test_networks_whose_options_differ_are_not_taken_for_equal() -> None:
    jobs = [
        replace(job(0), recipe=Recipe(network=Use.model_validate({"use": "standard-cnn", "slope": slope})))
        for slope in (0.1, 0.1, 0.9)
    ]
    first, again, other = (groups._key(one) for one in jobs)
    assert first == again != other


def test_what_fails_side_by_side_alone_leaves_the_others_what_they_are() -> None:
    heard: list[str] = []
    means = [replace(job(seed), start=_Means().double()) for seed in range(2)]
    jobs = [job(0), *means, job(1)]
    for one, found in zip(jobs, Groups(limit=8, tell=heard.append)(jobs), strict=True):
        expect_equal(found, fitted(one))
    assert len(heard) == 1
    assert heard[0].startswith("network 'standard-cnn' is trained alone, not in a cohort: it takes a mean")


def test_an_error_of_a_stack_is_not_that_of_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(jobs: Sequence[Job]) -> list[Trained | ScenarioError]:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(groups, "fit_together", breaks)
    heard: list[str] = []
    jobs = [job(0), job(1)]
    for one, found in zip(jobs, Groups(limit=8, tell=heard.append)(jobs), strict=True):
        expect_equal(found, fitted(one))
    assert heard == ["network 'standard-cnn' is trained alone, not in a cohort: RuntimeError: shapes do not fit"]


def test_float16_is_refused_on_a_cpu_as_alone_and_scaled_alone() -> None:
    jobs = [replace(job(seed), recipe=Recipe(precision="float16")) for seed in range(2)]
    for found in Groups(limit=8)(jobs):
        with pytest.raises(ScenarioError, match="float16"):
            fitted(jobs[0])
        assert isinstance(found, ScenarioError)


def test_a_stack_has_a_member() -> None:
    with pytest.raises(ValueError, match="expected limit to be at least 1 member a stack, got 0"):
        Groups(limit=0)


def test_only_one_shape_is_stacked() -> None:
    same = signature(job(0))
    assert signature(job(1)) == same  # another seed, other weights, data and rates
    for other in (
        job(0, rows=71),
        job(0, optimizer="adamw"),
        job(0, network="compact-cnn"),
        job(0, augmentation="flip"),
    ):
        assert signature(other) != same
    assert signature(job(0, frozen=("features.0",))) == same  # holds for updates alone
    assert signature(job(0, update=True, frozen=("features.0",))) != signature(job(0, update=True))


def test_groups_sort_by_shape_train_equal_jobs_once_and_keep_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(jobs: Sequence[Job]) -> list[Trained | ScenarioError]:
        sizes.append(len(jobs))
        return fit_together(jobs)

    monkeypatch.setattr(groups, "fit_together", counted)
    jobs = [job(0), job(0, rows=40), job(1), job(0), job(1, rows=40)]
    found = Groups(limit=8)(jobs)
    for one, trained in zip(jobs, found, strict=True):
        expect_equal(trained, fitted(one))
    assert sizes == [2, 2]
    Groups()(jobs)
    assert sizes == [2, 2]  # on a CPU each is trained alone
    models = [trained.model for trained in found if isinstance(trained, Trained)]
    assert len({id(model) for model in models}) == 5


def test_a_stack_too_large_for_the_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def small(jobs: Sequence[Job]) -> list[Trained | ScenarioError]:
        sizes.append(len(jobs))
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("full")
        return fit_together(jobs)

    monkeypatch.setattr(groups, "fit_together", small)
    found = Groups(limit=8)([job(seed) for seed in range(4)])
    assert sizes == [4, 2, 2]
    expect_equal(found[3], fitted(job(3)))


def test_what_did_not_fit_is_let_go_before_its_halves_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def small(jobs: Sequence[Job]) -> list[Trained | ScenarioError]:
        assert all(reference() is None for reference in held)
        if len(jobs) > 1:
            large = torch.zeros(3)
            held.append(weakref.ref(large))
            raise torch.OutOfMemoryError("full")
        return fit_together(jobs)

    monkeypatch.setattr(groups, "fit_together", small)
    monkeypatch.setattr(groups, "_alone", lambda one: small([one])[0])
    found = Groups(limit=8)([job(seed) for seed in range(4)])
    assert len(held) == 3
    assert all(isinstance(one, Trained) for one in found)


def test_one_that_diverges_fails_alone() -> None:
    wild = job(1)
    wild = replace(
        wild, phase=wild.phase.model_copy(update={"schedule": Use.model_validate({"use": "constant", "rate": 1e30})})
    )
    first, second = fit_together([job(0), wild])
    expect_equal(first, fitted(job(0)))
    assert isinstance(second, ScenarioError)
    assert "expected training to stay finite" in str(second)


def test_all_that_play_meet_and_one_that_ends_is_not_waited_for() -> None:
    sizes: list[int] = []

    def train(jobs: Sequence[Job]) -> list[Trained | Exception]:
        sizes.append(len(jobs))
        return [Trained(one.start, one.seed, 0, ()) for one in jobs]

    rendezvous, results = Rendezvous(3, train), {}

    def play(member: int) -> None:
        with rendezvous.member():
            results[member] = [rendezvous.trained(job(member)).samples for _ in range(member)]

    threads = [threading.Thread(target=play, args=(member,)) for member in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert results == {0: [], 1: [1], 2: [2, 2]}
    assert sizes == [2, 1]


def test_what_the_training_raises_reaches_everyone_and_the_end_lets_nobody_wait() -> None:
    def fail(jobs: Sequence[Job]) -> list[Trained | Exception]:
        raise RuntimeError("no such thing")

    rendezvous = Rendezvous(1, fail)
    with rendezvous.member(), pytest.raises(RuntimeError, match="no such thing"):
        rendezvous.trained(job(0))
    waits, raised = Rendezvous(2, fail), []

    def play() -> None:
        try:
            with waits.member():
                waits.trained(job(0))
        except WorkerError as error:
            raised.append(str(error))

    thread = threading.Thread(target=play)
    thread.start()
    waits.end()
    thread.join(timeout=30)
    assert raised == ["expected the study to go on, got its end; play it again"]


class Ending(nn.Linear):
    """Ends the process when it is used."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise SystemExit(0)


def test_a_network_that_ends_the_process_fails_its_own_job() -> None:
    good = job(0)
    bad = replace(job(1), start=Ending(2, 2).double())
    found = Groups()([good, bad])
    assert isinstance(found[0], Trained)
    assert isinstance(found[1], PluginError)
    told = "expected network 'standard-cnn' to return, got an attempt to end the process, SystemExit: 0"
    assert str(found[1]).startswith(told)


def test_nobody_waits_for_a_training_that_ends_the_process() -> None:
    def train(jobs: Sequence[Job]) -> Sequence[Trained | Exception]:
        raise SystemExit(0)

    rendezvous = Rendezvous(1, train)
    with rendezvous.member(), pytest.raises(PluginError, match="got an attempt to end the process"):
        rendezvous.trained(job(0))
