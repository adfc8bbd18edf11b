"""Too little data: errors with numbers and remedies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from simulator.errors import SourceError
from simulator.scenario.model import Scenario
from simulator.world.sources.assemble import Part, source_data
from simulator.world.sources.base import SourceData
from simulator.world.stream import Stream

MakeData = Callable[..., SourceData]
MakeScenario = Callable[..., Scenario]


def no_prior(period: int) -> Tensor | None:
    return None


def test_too_few_fresh_rows_name_what_is_needed_and_the_remedies(
    make_data: MakeData, make_scenario: MakeScenario
) -> None:
    sentence = (
        r"expected the stream to need at most the 400 train rows of small, got 446 \(126 for period 0, then 8 periods "
        r"of up to 40\): the rows last to period 6; use fewer periods, a smaller batch, or stream.reuse: recycle"
    )
    with pytest.raises(SourceError, match=sentence):
        Stream(make_data(), make_scenario(periods=8), no_prior)
    Stream(make_data(), make_scenario(periods=6), no_prior)


@pytest.mark.parametrize("reuse", ["refuse", "recycle"])
def test_a_base_that_does_not_fit_raises(make_data: MakeData, make_scenario: MakeScenario, reuse: str) -> None:
    sentence = (
        r"expected period 0 to fit the 400 train rows of small, got 406 \(stream.base 340, "
        r"stream.validation 20, 3 x stream.relearning 12, trusted 10\); make them smaller"
    )
    with pytest.raises(SourceError, match=sentence):
        Stream(make_data(), make_scenario(stream={"base": 340, "reuse": reuse}), no_prior)


def test_too_few_rows_of_a_class_name_it(make_data: MakeData, make_scenario: MakeScenario) -> None:
    prior = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    with pytest.raises(
        SourceError, match=r"label prior of period 3 .* unused rows of class 0, got .*; soften the prior"
    ):
        Stream(make_data(), make_scenario(), lambda period: prior if period else None)


def test_too_few_rows_of_a_class_to_recycle_name_it(make_data: MakeData, make_scenario: MakeScenario) -> None:
    mixes = {8: torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)}
    scenario = make_scenario(periods=8, stream={"reuse": "recycle", "base": 20, "batch": 100})
    with pytest.raises(SourceError, match=r"expected period 8 to find 100 rows of class 0 to recycle, got \d+; soften"):
        Stream(make_data(), scenario, mixes.get)


def test_a_batch_larger_than_what_can_be_recycled_raises(make_data: MakeData, make_scenario: MakeScenario) -> None:
    scenario = make_scenario(stream={"reuse": "recycle", "batch": 390})
    with pytest.raises(SourceError, match="expected at least 390 rows to recycle, got 60; use a smaller batch"):
        Stream(make_data(), scenario, no_prior)


@pytest.mark.parametrize(("keys", "last"), [({}, 3), ({"periods": 12, "stream": {"reuse": "recycle"}}, 6)])
def test_trusted_images_from_a_period_without_fresh_rows_raise(
    make_data: MakeData, make_scenario: MakeScenario, keys: dict[str, Any], last: int
) -> None:
    with pytest.raises(SourceError, match=rf"to be a period with fresh rows, 0 to {last}, got 12; choose an earlier"):
        Stream(make_data(), make_scenario(trusted={"images": 10, "from": 12}, **keys), no_prior)


def test_a_span_of_time_without_test_rows_raises(make_scenario: MakeScenario) -> None:
    images, labels = np.zeros((400, 8, 8), np.uint8), np.arange(400) % 2
    early = Part(images[:5], labels[:5], np.arange(5))
    data = source_data("mine", Part(images, labels, np.arange(400)), early)
    with pytest.raises(
        SourceError, match="expected mine to have test rows in the time of period 1, 126 to 165, got none"
    ):
        Stream(data, make_scenario(), no_prior)


def test_asking_for_what_is_not_there_raises(make_data: MakeData, make_scenario: MakeScenario) -> None:
    stream = Stream(make_data(), make_scenario(), no_prior)
    for ask in (stream.batch, stream.trusted, stream.test):
        for period in (-1, 4):
            with pytest.raises(ValueError, match=rf"expected period to be in \[0, 3\], got {period}"):
                ask(period)
    with pytest.raises(ValueError, match=r"expected draw to be in \[0, 2\], got 3"):
        stream.relearning(3)
