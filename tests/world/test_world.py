"""The world: twins, replay, roles, order of stamp and drift, and every part's seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from simulator.batch import Batch
from simulator.scenario.model import Scenario, Use
from simulator.world.attacks.base import COVER, POISON, Attack, Poisoned, choose_rows
from simulator.world.attacks.patch import Patch
from simulator.world.campaign import Campaign, CampaignView, Persistent
from simulator.world.drift import NoDrift, Noise, Rotation
from simulator.world.sources.base import SourceData
from simulator.world.world import World, load_source

MakeData = Callable[..., SourceData]
MakeScenario = Callable[..., Scenario]

POISONED: dict[str, Any] = {
    "drift": [{"use": "rotation", "degrees": 10}, {"use": "noise", "std": 0.05}, {"use": "brightness", "amount": 0.01}],
    "attack": {"use": "patch", "target": 1, "size": 2},
    "campaign": {"use": "persistent", "rate": 0.2},
}
ORDERS = pytest.mark.parametrize("stamped", ["after-drift", "before-drift"])


def build(scenario: Scenario, data: SourceData, attacked: bool = True) -> World:
    return World.build(scenario, data, attacked=attacked, device="cpu")


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in ("images", "labels", "ids"))


def poisoned(make_scenario: MakeScenario, stamped: str = "after-drift", **keys: Any) -> Scenario:
    return make_scenario(**{**POISONED, "attack": {**POISONED["attack"], "stamped": stamped}, **keys})


@ORDERS
@pytest.mark.parametrize("timed", [False, True])
def test_a_twin_is_the_same_world_but_for_the_poisoned_rows(
    make_data: MakeData, make_scenario: MakeScenario, stamped: str, timed: bool
) -> None:
    data, scenario = make_data(timed=timed), poisoned(make_scenario, stamped)
    world, twin = build(scenario, data), build(scenario, data, attacked=False)
    for period in range(4):
        mine, arrival, roles = world.arrive(period, {})
        theirs, clean_arrival, clean_roles = twin.arrive(period, {})
        clean = roles != POISON
        assert torch.equal(mine.ids, theirs.ids)
        assert torch.equal(mine.images[clean], theirs.images[clean])
        assert torch.equal(mine.labels[clean], theirs.labels[clean])
        assert (theirs.labels[~clean] != 1).all()
        assert (mine.labels[~clean] == 1).all()
        changed = (mine.images != theirs.images).flatten(1).any(1)
        assert torch.equal(changed, ~clean)
        rows = 60 if period == 0 else 30
        assert (arrival.rows, arrival.poisoned, arrival.poison_rate) == (rows, rows // 5, 0.2)
        assert (clean_arrival.poisoned, clean_arrival.poison_rate, int(clean_roles.sum())) == (0, 0.0, 0)
        assert arrival.true_drift == clean_arrival.true_drift
    for ask in ("validation", "trusted", "test", "stamped", "relearning"):
        arguments = {"validation": (), "relearning": (2, 1, 5, False)}.get(ask, (2,))
        one, other = (getattr(each, ask)(*arguments) for each in (world, twin))
        assert same(one, other) if isinstance(one, Batch) else torch.equal(one, other)
    assert twin.has_attack


@ORDERS
def test_an_earlier_batch_can_be_had_again_bit_for_bit(
    make_data: MakeData, make_scenario: MakeScenario, stamped: str
) -> None:
    data, scenario = (
        make_data(),
        poisoned(make_scenario, stamped, campaign={"use": "one-shot", "period": 2, "rate": 0.33}),
    )
    world = build(scenario, data)
    arrived = [world.arrive(period, {}) for period in range(4)]
    fresh = build(scenario, data)
    for period in (2, 0, 3, 1):
        batch, arrival, roles = arrived[period]
        again, roles_again = fresh.again(period, arrival.asked_rate)
        assert same(again, batch)
        assert torch.equal(roles_again, roles)
    assert [arrival.poisoned for _, arrival, _ in arrived] == [0, 0, 10, 0]


class RoundsDown(Attack):
    """A stranger's: never poisons more than it is asked to."""

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        return self._marked(images, labels, int(rate * len(labels)), POISON, generator)

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        return images * (1 - opacity)

    def _marked(self, images: Tensor, labels: Tensor, count: int, role: int, generator: torch.Generator) -> Poisoned:
        rows = choose_rows(torch.ones(len(labels)) > 0, count, generator)
        roles = torch.zeros(len(labels), dtype=torch.int8).index_fill(0, rows, role)
        return Poisoned(images.index_copy(0, rows, self.stamp(images[rows])), labels, roles)


class CoversOnly(RoundsDown):
    """A stranger's: of few rows it makes covers alone."""

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        return self._marked(images, labels, round(rate * len(labels)), COVER, generator)


@pytest.mark.parametrize(
    ("attack", "poisoned_rows", "covers"), [(RoundsDown, [5, 2, 2, 2], [0] * 4), (CoversOnly, [0] * 4, [6, 3, 3, 3])]
)
def test_a_batch_is_replayed_at_the_rate_that_was_asked_for(
    make_data: MakeData, make_scenario: MakeScenario, attack: type[Attack], poisoned_rows: list[int], covers: list[int]
) -> None:
    # 0.096 of 60 and of 30 rows are 5.76 and 2.88; of the realised 5 / 60 and 2 / 30 another whole number remains
    def world() -> World:
        return World(
            make_scenario(),
            make_data(),
            drifts={},
            attack=attack(),
            campaign=Persistent(rate=0.096),
            device="cpu",
        )

    arrived, fresh = [world().arrive(period, {}) for period in range(4)], world()
    assert [arrival.poisoned for _, arrival, _ in arrived] == poisoned_rows
    assert [arrival.covers for _, arrival, _ in arrived] == covers
    for period, (batch, arrival, roles) in enumerate(arrived):
        assert arrival.asked_rate == 0.096
        again, roles_again = fresh.again(period, arrival.asked_rate)
        assert same(again, batch)
        assert torch.equal(roles_again, roles)


def test_what_was_asked_before_changes_nothing(make_data: MakeData, make_scenario: MakeScenario) -> None:
    data, scenario = make_data(), poisoned(make_scenario)
    one, other = build(scenario, data), build(scenario, data)
    torch.manual_seed(1)
    first = (one.test(3), one.trusted(2), one.relearning(1, 2, 3, True), one.arrive(1, {})[0])
    torch.manual_seed(2)
    last = (other.arrive(1, {})[0], other.relearning(1, 2, 3, True), other.trusted(2), other.test(3))
    assert all(same(mine, theirs) for mine, theirs in zip(first, last[::-1], strict=True))
    assert not same(first[0], build(poisoned(make_scenario, seed=1), data).test(3))


def test_images_are_the_sources_and_ids_say_which(make_data: MakeData, make_scenario: MakeScenario) -> None:
    data = make_data(channels=3)
    world = build(make_scenario(), data)
    for batch in (world.arrive(2, {})[0], world.trusted(1), world.validation(), world.relearning(0, 0, 0, False)):
        expected = data.images[batch.ids.numpy()].astype(np.float32) / 255
        assert np.array_equal(batch.images.numpy(), expected)
        assert batch.labels.tolist() == data.labels[batch.ids.numpy()].tolist()
    test = world.test(1)
    assert np.array_equal(test.images.numpy(), data.test_images[test.ids.numpy() - 400].astype(np.float32) / 255)
    assert (world.shape, world.classes, world.source_digest) == ((3, 8, 8), 4, data.digest)
    assert world.class_names == ("0", "1", "2", "3")


def test_drifts_are_put_on_in_order_with_the_periods_magnitudes(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    data = make_data()
    turn = {"use": "rotation", "degrees": 90, "sampling": "plain"}
    drift = [turn, {"use": "brightness", "amount": 0.25}, {"use": "none"}]
    world, clean = build(make_scenario(drift=drift), data), build(make_scenario(), data)
    assert world.true_drift(2) == {"rotation": 180.0, "brightness": 0.5}
    expected = (torch.rot90(clean.test(2).images, 2, (2, 3)) + 0.5).clamp(0, 1)
    torch.testing.assert_close(world.test(2).images, expected, atol=1e-5, rtol=0)
    assert same(world.validation(), clean.validation())
    assert same(world.arrive(0, {})[0], clean.arrive(0, {})[0])
    # the black corners that a turn brings are brightened after it
    turned = build(make_scenario(drift=[{"use": "rotation", "degrees": 45}, drift[1]]), data).test(1).images
    assert float(turned.min()) >= 0.25 - 1e-6


def test_two_drifts_of_one_name_are_told_apart(make_data: MakeData, make_scenario: MakeScenario) -> None:
    drift = [{"use": "noise", "std": 0.1}, {"use": "noise", "std": 0.2, "pattern": "sudden"}]
    world = build(make_scenario(drift=drift), make_data())
    assert world.true_drift(2) == {"noise": 0.2, "noise#2": 0.2}
    once = build(make_scenario(drift=drift[:1]), make_data())
    both, first = world.test(2).images, once.test(2).images
    # equal seeds would have added the same noise twice
    inside = (first > 0) & (first < 1) & (both > 0) & (both < 1)
    clean = build(make_scenario(), make_data()).test(2).images
    pair = torch.stack([(first - clean)[inside], (both - first)[inside]])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.15


def test_noise_differs_by_period_and_purpose_and_not_between_stamped_and_unstamped(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    keys = {"drift": [{"use": "noise", "std": 0.05, "pattern": "sudden"}], "attack": {"use": "patch", "size": 2}}
    data = make_data()
    world, clean = build(make_scenario(**keys), data), build(make_scenario(attack=keys["attack"]), data)
    noise = [world.test(period).images - clean.test(period).images for period in (1, 2)]
    assert not torch.equal(*noise)
    pool = [world.relearning(1, draw, 0, False).images - clean.relearning(1, draw, 0, False).images for draw in (0, 1)]
    assert not torch.equal(*pool)
    changed = (world.stamped(1) != world.test(1).images).flatten(1).sum(1)
    assert changed.max() <= 4


@ORDERS
def test_the_trigger_is_put_on_in_the_scenarios_order(
    make_data: MakeData, make_scenario: MakeScenario, stamped: str
) -> None:
    data = make_data()
    drift = [{"use": "rotation", "degrees": 90, "sampling": "plain"}]
    keys = {"drift": drift, "campaign": {"use": "persistent", "rate": 0.5}}
    attack = {"use": "patch", "target": 1, "size": 2, "margin": 0, "stamped": stamped}
    world = build(make_scenario(attack=attack, **keys), data)
    clean = build(make_scenario(drift=keys["drift"]), data)
    # a quarter turn counter-clockwise takes the lower right corner to the upper right
    corner = (slice(6, 8), slice(6, 8)) if stamped == "after-drift" else (slice(0, 2), slice(6, 8))
    arrived, _, roles = world.arrive(1, {})
    relearned = world.relearning(1, 0, 4, False)
    cases = (
        (world.stamped(1), clean.test(1).images),
        (arrived.images[roles == POISON], clean.arrive(1, {})[0].images[roles == POISON]),
        (relearned.images, clean.relearning(1, 0, 0, False).images),
    )
    for after, before in cases:
        where = ((after - before).abs() > 1e-4).any(0)[0]
        expected = torch.zeros(8, 8, dtype=torch.bool)
        expected[corner] = True
        assert torch.equal(where, expected)
        assert float(after[..., corner[0], corner[1]].max()) == pytest.approx(1, abs=1e-5)


def test_opacity_fades_the_trigger(make_data: MakeData, make_scenario: MakeScenario) -> None:
    world = build(poisoned(make_scenario), make_data())
    test, full, half = world.test(2).images, world.stamped(2), world.stamped(2, 0.5)
    assert torch.equal(world.stamped(2, 0.0), test)
    torch.testing.assert_close(half, (test + full) / 2)


def test_the_unrelated_trigger_changes_other_pixels(make_data: MakeData, make_scenario: MakeScenario) -> None:
    world = build(poisoned(make_scenario), make_data())
    test = world.test(1).images
    own = (world.stamped(1) != test).any(0)
    other = (world.stamped(1, unrelated=True) != test).any(0)
    assert (int(own.sum()), int(other.sum())) == (4, 4)
    assert not (own & other).any()


def test_the_relearning_pool(make_data: MakeData, make_scenario: MakeScenario) -> None:
    data = make_data()
    world = build(poisoned(make_scenario), data)
    own, other = world.relearning(3, 2, 5, False), world.relearning(3, 2, 5, True)
    plain = world.relearning(3, 2, 0, False)
    assert torch.equal(own.ids, world.relearning(1, 2, 5, False).ids)
    truth = torch.from_numpy(data.labels)[own.ids]
    assert torch.equal(plain.labels, truth)
    for batch in (own, other):
        rows = (batch.images != plain.images).flatten(1).any(1)
        assert int(rows.sum()) == 5
        assert (truth[rows] != 1).all()
        assert (batch.labels[rows] == 1).all()
        assert torch.equal(batch.labels[~rows], truth[~rows])
    assert torch.equal(own.labels, other.labels)


def test_digits_drift_as_their_writers_took_turns(make_scenario: MakeScenario) -> None:
    # rows keep their places in time: chunk 0 is the first 300 train rows, chunks 1 to 3 the next 100 each
    stream = {"base": 200, "batch": 90, "validation": 60, "relearning": 10}
    data = load_source(Use(use="digits"))
    world = build(make_scenario(source={"use": "digits"}, stream=stream), data)
    assert data.time is not None
    middles = [(data.time[first] + data.time[last]) / 2 for first, last in ((0, 299), (300, 399), (400, 499))]
    whole = data.time[-1] - data.time[0]
    for period, middle in enumerate(middles):
        assert world.true_drift(period) == {"natural-order": pytest.approx((middle - middles[0]) / whole)}


@pytest.mark.parametrize(
    ("from_", "degrees"),
    [("latest", [0.0, 10.0, 20.0, 30.0]), (0, [0.0] * 4), (1, [0.0, 10.0, 10.0, 10.0]), (3, [0.0, 10.0, 20.0, 30.0])],
)
def test_trusted_images_have_the_drift_of_their_own_period_and_none_to_come(
    make_data: MakeData, make_scenario: MakeScenario, from_: str | int, degrees: list[float]
) -> None:
    keys = {"trusted": {"images": 10, "from": from_}}
    data = make_data()
    drift = [{"use": "rotation", "degrees": 10, "sampling": "plain"}]
    world = build(make_scenario(drift=drift, **keys), data)
    clean = build(make_scenario(**keys), data)
    for period, turned in enumerate(degrees):
        expected = Rotation(sampling="plain").change(clean.trusted(period).images, turned, torch.Generator())
        assert torch.equal(world.trusted(period).images, expected)
        assert world.trusted_period(period) == turned / 10 <= period


def test_a_source_in_its_order_drifts_by_itself(make_data: MakeData, make_scenario: MakeScenario) -> None:
    # row r has the time r: chunk 0 covers 0 to 125, chunk 1 126 to 165, chunk 2 166 to 205, of 0 to 399
    passed = [0.0, (145.5 - 62.5) / 399, (185.5 - 62.5) / 399]
    scenario = make_scenario(drift=[{"use": "rotation", "degrees": 10}])
    world = build(scenario, make_data(timed=True))
    for period, share in enumerate(passed):
        drift = world.true_drift(period)
        assert drift == {"natural-order": pytest.approx(share), "rotation": 10.0 * period}
        assert world.arrive(period, {})[1].true_drift == drift
    assert list(build(scenario, make_data()).true_drift(1)) == ["rotation"]


def test_a_label_prior_changes_the_mix_of_batches_alone(make_data: MakeData, make_scenario: MakeScenario) -> None:
    drift = [
        {"use": "label-prior", "share": 0.2, "favoured": 2, "counts": "exact"},
        {"use": "label-prior", "share": 0.5, "at": 3},
    ]
    world = build(make_scenario(drift=drift), make_data())
    assert world.prior(0) is None
    priors = [world.prior(period) for period in (1, 2, 3)]
    assert [None if prior is None else prior.tolist() for prior in priors] == [
        pytest.approx([0.2, 0.2, 0.4, 0.2]),
        pytest.approx([0.15, 0.15, 0.55, 0.15]),
        # first 0.6 to class 2, then half of everything to class 0
        pytest.approx([0.55, 0.05, 0.35, 0.05]),
    ]
    counts = [torch.bincount(world.arrive(period, {})[0].labels, minlength=4).tolist() for period in (1, 3)]
    assert counts == [[6, 6, 12, 6], [17, 2, 10, 1]]
    assert world.true_drift(3) == {"label-prior": pytest.approx(0.6), "label-prior#2": 0.5}


class Careful(Campaign):
    """A stranger's: poisons every other period and remembers how often it asked."""

    def rate(self, view: CampaignView) -> float:
        view.state["asked"] = view.state.get("asked", 0) + 1
        if view.query is not None:
            view.state["seen"] = view.query(torch.zeros(2, 1, 8, 8)).tolist()
        return 0.1 if view.state["asked"] % 2 else 0.0


def test_a_campaign_remembers_through_its_state_and_may_query(make_data: MakeData, make_scenario: MakeScenario) -> None:
    world = World(
        make_scenario(),
        make_data(),
        drifts={"none": NoDrift()},
        attack=Patch(target=1, size=2),
        campaign=Careful(),
        device="cpu",
    )

    def query(images: Tensor) -> Tensor:
        return torch.full((len(images),), 3)

    state: dict[str, Any] = {}
    counts = []
    for period in range(4):
        before = dict(state)
        _, arrival, _ = world.arrive(period, state, query if period else None)
        assert state == before
        state = arrival.campaign_state
        counts.append(arrival.poisoned)
    assert counts == [6, 0, 3, 0]
    assert state == {"asked": 4, "seen": [3, 3]}


@pytest.mark.parametrize("keys", [{"campaign": {"use": "none"}}, {"attack": {"use": "none"}}])
def test_without_campaign_or_attack_nothing_is_poisoned(
    make_data: MakeData, make_scenario: MakeScenario, keys: dict[str, Any]
) -> None:
    world = build(make_scenario(**{**POISONED, **keys}), make_data())
    assert [world.arrive(period, {})[1].poisoned for period in range(4)] == [0] * 4
    assert world.has_attack == ("campaign" in keys)


def test_a_defender_may_have_no_images(make_data: MakeData, make_scenario: MakeScenario) -> None:
    world = build(make_scenario(trusted={"images": 0}, drift=POISONED["drift"]), make_data())
    assert world.trusted(2).images.shape == (0, 1, 8, 8)


def test_recycled_periods_say_so(make_data: MakeData, make_scenario: MakeScenario) -> None:
    world = build(make_scenario(periods=8, stream={"reuse": "recycle"}), make_data())
    assert [world.arrive(period, {})[1].recycled for period in (0, 6, 7, 8)] == [False, False, True, True]


@pytest.mark.gpu
def test_a_world_on_a_gpu_is_the_same_up_to_rounding(make_data: MakeData, make_scenario: MakeScenario) -> None:
    data, scenario = make_data(), poisoned(make_scenario)
    host = build(scenario, data)
    device = World.build(scenario, data, attacked=True, device="cuda")
    mine, arrival, roles = device.arrive(2, {})
    theirs, expected, expected_roles = host.arrive(2, {})
    assert mine.images.is_cuda
    assert (arrival, roles.tolist()) == (expected, expected_roles.tolist())
    torch.testing.assert_close(mine.images.cpu(), theirs.images, atol=1e-5, rtol=0)
    torch.testing.assert_close(device.stamped(2, 0.5).cpu(), host.stamped(2, 0.5), atol=1e-5, rtol=0)
    assert device.relearning(1, 0, 4, True).labels.tolist() == host.relearning(1, 0, 4, True).labels.tolist()
    noise = Noise(std=0.1).change(theirs.images, 0.1, torch.Generator().manual_seed(0))
    again = Noise(std=0.1).change(theirs.images.cuda(), 0.1, torch.Generator().manual_seed(0))
    torch.testing.assert_close(again.cpu(), noise, atol=1e-6, rtol=0)
