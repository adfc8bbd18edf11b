"""The guard of shared images: a change in place is detected, however it was made."""

from __future__ import annotations

import pytest
import torch

from simulator.batch import Batch
from simulator.errors import PluginError
from simulator.world.attacks.patch import Patch
from simulator.world.guard import GuardedBatch
from simulator.world.world import World


def _batch() -> Batch:
    return Batch(torch.zeros(4, 1, 2, 2), torch.arange(4), torch.arange(4))


def _smudge(batch: Batch) -> None:
    with torch.inference_mode():
        batch.images.add_(0.1)


@pytest.mark.parametrize(
    "change",
    [
        _smudge,
        lambda batch: batch.images[1:].view(-1).clamp_(0.2, 1),
        lambda batch: batch.images.detach().mul_(0),
        lambda batch: batch.labels.__setitem__(0, 3),
        lambda batch: batch.ids.neg_(),
    ],
)
def test_a_change_in_place_is_told(change):
    guarded = GuardedBatch("the images of a test", _batch())
    shown = guarded.get()
    assert guarded.get() is shown
    change(shown)
    with pytest.raises(PluginError, match="expected the images of a test to stay as they were, got a change in place"):
        guarded.get()


def test_what_is_made_of_a_copy_is_nobodys_business():
    guarded = GuardedBatch("the images of a test", _batch())
    guarded.get().images.clone().add_(1)
    guarded.get().images[torch.tensor([0, 1])].add_(1)
    assert not guarded.get().images.any()


@pytest.mark.parametrize("change", [lambda world: world.test(1).images.add_(0.1), lambda world: world.stamped(1)])
def test_a_period_whose_test_images_were_changed_is_not_read_again(make_data, make_scenario, monkeypatch, change):
    def stamp(self, images, opacity=1.0):
        images[..., 0, 0] = 1.0
        return images

    world = World.build(
        make_scenario(attack={"use": "patch", "target": 1, "size": 2}), make_data(), attacked=True, device="cpu"
    )
    monkeypatch.setattr(Patch, "stamp", stamp)  # as a plug-in's that forgets to copy
    untouched = world.test(1).images.clone()
    change(world)
    for ask in (world.test, world.stamped):
        with pytest.raises(PluginError, match=r"test images of period 1 .* work on a copy, `ebbdoor check` tells"):
            ask(1)
    world.test(2)
    assert torch.equal(world.test(1).images, untouched)  # made anew
