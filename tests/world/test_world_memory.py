"""How many images a world has in memory: one set of each kind, and none of the period before."""

from __future__ import annotations

import weakref

import pytest
import torch

from simulator.world.attacks.base import POISON
from simulator.world.attacks.poisoning import changed, untouched
from simulator.world.drift import Rotation
from simulator.world.world import World

OPTIONS = {
    "drift": [{"use": "rotation", "degrees": 4, "at": 0}],
    "campaign": {"use": "one-shot", "rate": 0.1, "period": 1},
}


def _world(make_data, make_scenario, stamped: str) -> World:
    attack = {"use": "patch", "target": 1, "size": 2, "stamped": stamped}
    return World.build(make_scenario(**OPTIONS, attack=attack), make_data(), attacked=True, device="cpu")


def test_the_next_arrival_lets_the_last_test_images_go(make_data, make_scenario):
    world = _world(make_data, make_scenario, "after-drift")
    held = weakref.ref(world.test(1).images)
    world.arrive(1, {})
    assert held() is not None
    world.arrive(2, {})
    assert held() is None


@pytest.mark.parametrize("stamped", ["after-drift", "before-drift"])
def test_drift_changes_the_worlds_own_images_where_they_lie(make_data, make_scenario, monkeypatch, stamped):
    world = _world(make_data, make_scenario, stamped)
    seen = []
    change = Rotation.change

    def watched(self, images, *rest, **named):
        changed = change(self, images, *rest, **named)
        seen.append(changed is images)
        return changed

    monkeypatch.setattr(Rotation, "change", watched)
    world.arrive(1, {})
    world.test(1)
    world.stamped(1)
    world.trusted(1)
    assert len(seen) >= 3
    assert all(seen)


def test_a_poisoned_batch_is_copied_once():
    images, labels = torch.zeros(60, 1, 8, 8), torch.arange(60) % 4
    batch = untouched(images, labels)
    for rows in ([1, 2], [3]):
        found = changed(batch, torch.tensor(rows), torch.ones_like, POISON, 0)
        assert found.images is batch.images
    assert found.images.flatten(1).any(1).nonzero().flatten().tolist() == [1, 2, 3]
    assert not images.any()
