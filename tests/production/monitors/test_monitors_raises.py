"""What monitors refuse, and in which words."""

from __future__ import annotations

import copy

import pytest
import torch

from simulator.errors import EbbdoorError, ScenarioError
from simulator.production.monitors.evidently import Evidently
from simulator.production.monitors.mmd import Mmd
from simulator.production.monitors.scripted import Scripted


@pytest.mark.parametrize("monitor", [Mmd, Evidently])
@pytest.mark.parametrize("level", [0.0, -0.1, 0.51, float("nan")])
def test_a_level_that_is_none(monitor, level):
    with pytest.raises(ValueError, match=r"expected level to be above 0 and at most 0\.5, got .*; 0\.05 is usual"):
        monitor(level=level)


@pytest.mark.parametrize(("monitor", "option"), [(Mmd, "permutations"), (Evidently, "resamples")])
def test_too_few_draws_to_tell_the_level(monitor, option):
    monitor(**{option: 19})
    with pytest.raises(ValueError, match=rf"expected {option} to be at least 19 at level 0\.05, got 18; raise one"):
        monitor(**{option: 18})


@pytest.mark.parametrize("monitor", [Mmd, Evidently])
def test_an_unknown_reference(monitor):
    with pytest.raises(ValueError, match=r"expected reference to be 'fixed' or 'promotion', got 'last'; choose one"):
        monitor(reference="last")


@pytest.mark.parametrize("columns", [(), ("brightness", "hue"), ("entropy", "entropy")])
def test_columns_that_are_not_there(columns):
    with pytest.raises(ValueError, match=r"expected columns to be some of brightness, .*, each once, got \[.*\]"):
        Evidently(columns=columns)


def test_mmd_on_something_else():
    with pytest.raises(ValueError, match=r"expected on to be 'features' or 'pixels', got 'logits'; choose one"):
        Mmd(on="logits")


@pytest.mark.parametrize("rows", [1, 2001])
def test_mmd_rows_out_of_range(rows):
    with pytest.raises(ValueError, match=rf"expected rows to be in \[2, 2000\], got {rows}"):
        Mmd(rows=rows)


def test_an_alarm_before_there_is_a_champion():
    with pytest.raises(ValueError, match=r"expected alarms to be periods from 1 on, got 0; period 0 has no champion"):
        Scripted(alarms=(3, 0))


@pytest.mark.parametrize("monitor", [Mmd(), Evidently()], ids=["mmd", "evidently"])
@pytest.mark.parametrize(
    ("reference", "current", "words"),
    [
        (1, 5, r"reference to hold at least 2 images, got 1; raise stream\.validation"),
        (5, 1, r"current batch .* got 1"),
    ],
)
def test_too_few_images(make_view, images, monitor, reference, current, words):
    with pytest.raises(ScenarioError, match=words):
        monitor.observe(make_view(images[:reference], images[10 : 10 + current]))


def test_a_page_without_columns(make_view, model, images):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken[4].bias.fill_(float("nan"))
    with pytest.raises(EbbdoorError, match=r"expected a column of the drift report to be finite, got none"):
        Evidently(columns=("entropy",)).html(make_view(images[:20], images[20:40], champion=broken))
