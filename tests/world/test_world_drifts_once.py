"""How often a period's drift is applied: once for all readers of its test images, unless the trigger drifts too."""

from __future__ import annotations

import pytest
import torch

from simulator.world.drift import Noise
from simulator.world.world import World


@pytest.mark.parametrize(("stamped", "passes"), [("after-drift", 1), ("before-drift", 4)])
def test_the_test_images_of_a_period_drift_once(make_data, make_scenario, monkeypatch, stamped, passes):
    scenario = make_scenario(
        drift=[{"use": "noise", "std": 0.1}],
        attack={"use": "patch", "target": 1, "size": 2, "stamped": stamped},
        campaign={"use": "one-shot", "rate": 0.1},
    )
    world = World.build(scenario, make_data(), attacked=True, device="cpu")
    drifted = []
    apply = Noise.apply
    monkeypatch.setattr(Noise, "apply", lambda self, *given: drifted.append(1) or apply(self, *given))
    unstamped = world.test(2).images
    for opacity in (1.0, 0.5, 0.25):
        world.stamped(2, opacity)
    assert len(drifted) == passes
    assert torch.equal(world.test(2).images, unstamped)
    assert not torch.equal(world.test(3).images, unstamped)
    assert torch.equal(world.test(2).images, unstamped)  # an earlier period made again is the same to the last bit
