"""Pictures of triggers: whose they are, and what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from simulator.errors import PluginError, ScenarioError
from simulator.observer.report.triggers import Trigger, trigger_picture, triggers_of, write_picture
from simulator.scenario.model import Scenario

PATCH = {"use": "patch", "target": 3, "size": 2}


def scenario(**keys: Any) -> Scenario:
    stream = {"base": 300, "batch": 60, "validation": 60, "relearning": 20, "test": 100}
    small = {"name": "pictured", "source": {"use": "digits"}, "stream": stream, "trusted": {"images": 20}}
    return Scenario.model_validate(small | keys)


def test_a_trigger_is_an_image_and_its_stamped_copy() -> None:
    (trigger,) = triggers_of(scenario(attack=PATCH, campaign={"use": "one-shot"}))
    assert trigger.title == "patch → 3"
    assert trigger.image.shape == (1, 8, 8)
    expected = trigger.image.clone()
    expected[:, 6:, 6:] = 1
    assert torch.equal(trigger.stamped, expected)
    assert torch.equal(trigger.change, expected - trigger.image)


def test_arms_with_the_same_attack_share_a_trigger_and_those_without_have_none() -> None:
    arms = {
        "first": {},
        "faster": {"recipe.update.epochs": 2},
        "other": {"attack.size": 4},
        "clean": {"attack": {"use": "none"}, "campaign": {"use": "none"}},
    }
    triggers = triggers_of(scenario(attack=PATCH, campaign={"use": "one-shot"}, arms=arms))
    assert [trigger.title for trigger in triggers] == ["first, faster\npatch → 3", "other\npatch → 3"]
    for trigger, size in zip(triggers, (2, 4), strict=True):
        expected = trigger.image.clone()
        expected[:, 8 - size :, 8 - size :] = 1
        assert torch.equal(trigger.stamped, expected)


def test_titles_are_short() -> None:
    attack = {**PATCH, "use": "simulator.world.attacks.patch:Patch"}
    arms = {f"an-arm-with-number-{number}": {} for number in range(4)}
    (trigger,) = triggers_of(scenario(attack=attack, campaign={"use": "one-shot"}, arms=arms))
    assert trigger.title == "an-arm-with-number-0, an-arm-with-n…\nPatch → 3"


def test_a_row_is_drawn_for_each_trigger_and_the_largest_change_is_told() -> None:
    image = torch.full((3, 8, 8), 0.5)
    faint = Trigger("faint", image, image + 0.25)
    figure = trigger_picture([faint, Trigger("nothing", image, image)])
    axes = figure.axes
    titles = ["image", "stamped", "change, at most 0.25", "image", "stamped", "change, at most 0.00"]
    assert [axis.get_title() for axis in axes] == titles
    assert [axes[place].get_ylabel() for place in (0, 3)] == ["faint", "nothing"]
    drawn = [np.asarray(axis.get_images()[0].get_array()) for axis in axes]
    assert drawn[0].shape == (8, 8, 3)
    assert (drawn[1] == 0.75).all()
    assert (drawn[2] == 1).all()  # brightest where it is largest
    assert (drawn[5] == 0).all()


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_the_same_triggers_give_the_same_file(tmp_path: Path, ending: str) -> None:
    image = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    written = []
    for name in ("one", "other"):
        path = tmp_path / f"{name}{ending}"
        write_picture(trigger_picture([Trigger("half $ a dollar", image, image / 2)]), path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    if ending == ".png":
        height, width = imread(tmp_path / "one.png").shape[:2]
        assert width > height > 200


def test_what_cannot_be_drawn_raises() -> None:
    with pytest.raises(
        ScenarioError, match="scenario 'pictured' to have an attack whose trigger can be drawn, got none"
    ):
        triggers_of(scenario())
    with pytest.raises(PluginError, match="expected the patch to lie inside images of 8 x 8"):
        triggers_of(scenario(attack={**PATCH, "size": 9}, campaign={"use": "one-shot"}))
