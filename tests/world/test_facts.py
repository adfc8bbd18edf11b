"""What a run says of its images and classes before it trains, on sources whose every image is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simulator.preflight.data import data_facts
from simulator.scenario.model import Scenario
from simulator.world.sources.assemble import Part, source_data
from simulator.world.sources.base import SourceData
from simulator.world.sources.facts import image_facts

NOISE = np.random.default_rng(0).integers(0, 256, (100, 8, 8), np.uint8)


def source(images: np.ndarray[Any, Any], test: np.ndarray[Any, Any] | None = None, **more: Any) -> SourceData:
    held_out = np.random.default_rng(1).integers(0, 2, (10, 8, 8), np.uint8) * images.max() if test is None else test
    train = Part(images, np.arange(len(images)) % 2)
    return source_data("small", train, Part(held_out.astype(np.uint8), np.arange(len(held_out)) % 2), **more)


def test_facts_are_those_of_the_images() -> None:
    images = np.concatenate([NOISE[:5], NOISE[:2], np.full((1, 8, 8), 9, np.uint8)])  # two twice, one constant
    facts = image_facts(source(images, test=np.stack([NOISE[0], NOISE[50]])))
    assert (facts.lowest, facts.highest, facts.looked_at) == (0, 255, 10)
    whole = np.concatenate([images, NOISE[:1], NOISE[50:51]])
    assert facts.mean == pytest.approx(whole.mean())
    assert (facts.constant, facts.duplicates, facts.leaked) == (pytest.approx(0.1), pytest.approx(0.3), 0.5)
    assert str(facts).startswith("values 0 to 255 of 255, mean 1")


def test_a_sound_source_gives_no_warning() -> None:
    assert image_facts(source(NOISE)).warnings == []


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (NOISE // 255, "no image has a value above 1 of 255, as where values in 0 to 1 were made whole numbers"),
        (NOISE // 32, "no image has a value above 7 of 255: check the scale"),
        (NOISE // 2 * (np.arange(64).reshape(8, 8) == 0), "the images are nearly all black (mean 0."),
        (255 - NOISE // 2 * (np.arange(64).reshape(8, 8) == 0), "the images are nearly all white"),
        (np.where(np.arange(100)[:, None, None] < 40, 7, NOISE), "of the images hold one value alone"),
        (NOISE[np.arange(100) % 50], "of the images are equal to an earlier one"),
    ],
)
def test_what_looks_wrong_is_said(images: np.ndarray[Any, Any], sentence: str) -> None:
    found = image_facts(source(images.astype(np.uint8), test=images[:10].astype(np.uint8))).warnings
    assert any(sentence in one for one in found), found


def test_test_images_that_are_trained_on_are_said() -> None:
    assert any(
        "50.0 % of the test images" in one for one in image_facts(source(NOISE[:90], test=NOISE[85:95])).warnings
    )


def test_classes_without_test_rows_or_with_few_are_named(make_scenario: Callable[..., Scenario]) -> None:
    labels = np.array([0] * 30 + [1] * 30 + [2] * 38 + [3] * 2)
    test = Part(NOISE, np.array([0] * 50 + [1] * 48 + [3] * 2))
    data = source_data("small", Part(NOISE[::-1], labels), test, class_names=("ant", "bee", "cat", "dog"))
    scenario = make_scenario(
        stream={"base": 10, "batch": 5, "validation": 5, "relearning": 2, "test": 20}, trusted={"images": 2}
    )
    facts = data_facts(scenario, data)
    assert facts["warnings"][-2:] == [
        "no test row of class cat: accuracy and attack success are read over the other classes alone",
        "fewer than 5 test rows of class dog (1): it weighs as much in attack success as every other class, so that a "
        "row changes it much",
    ]
    assert (facts["classes"], facts["test_rows"]) == (["ant", "bee", "cat", "dog"], [50, 48, 0, 2])
    assert "4 classes (ant, bee, cat, dog); values 0 to 255" in facts["lines"][0]
    assert facts["lines"][-1] == f"warning: {facts['warnings'][-1]}"


def test_periods_without_a_class_are_named(make_scenario: Callable[..., Scenario]) -> None:
    time = np.repeat([0, 1, 2, 3], 25)
    labels = np.where(time < 3, np.arange(100) % 2, np.arange(100) % 3)  # class 2 comes in the last quarter
    data = source_data("small", Part(NOISE, labels, time), Part(255 - NOISE, labels, time))
    stream = {"base": 10, "batch": 25, "validation": 5, "relearning": 2}
    facts = data_facts(make_scenario(stream=stream, trusted={"images": 2}, periods=2), data)
    assert any("no test row of class 2 in period 0, 1" in one for one in facts["warnings"]), facts["warnings"]
