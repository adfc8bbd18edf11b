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
@pytest.mark.parametrize(
    ("level", "words"),
    [
        (0.0, "above 0.0, got 0.0; raise it"),
        (-0.1, "above 0.0, got -0.1; raise it"),
        (0.51, "at most 0.5, got 0.51; lower it"),
        (float("nan"), "a finite number, got NaN; write one"),
    ],
    ids=["zero", "below 0", "above a half", "not a number"],
)
def test_a_level_that_is_none(monitor, level, words):
    with pytest.raises(ValueError, match=f"expected level to be {words}"):
        monitor(level=level)


@pytest.mark.parametrize(("monitor", "option"), [(Mmd, "permutations"), (Evidently, "resamples")])
def test_too_few_draws_to_tell_the_level(monitor, option):
    monitor(**{option: 19})
    with pytest.raises(ValueError, match=rf"expected {option} to be at least 19 at level 0\.05, got 18; raise one"):
        monitor(**{option: 18})


@pytest.mark.parametrize("monitor", [Mmd, Evidently])
def test_an_unknown_reference(monitor):
    with pytest.raises(ValueError, match=r"expected reference to be 'fixed' or 'promotion', got 'last'; choose"):
        monitor(reference="last")


@pytest.mark.parametrize("columns", [(), ("brightness", "hue"), ("entropy", "entropy")])
def test_columns_that_are_not_there(columns):
    with pytest.raises(ValueError, match=r"expected columns to be some of brightness, .*, each once, got \[.*\]"):
        Evidently(columns=columns)


def test_mmd_on_something_else():
    with pytest.raises(ValueError, match=r"expected on to be 'features' or 'pixels', got 'logits'; choose one of them"):
        Mmd(on="logits")


@pytest.mark.parametrize(("rows", "bound"), [(1, "at least 2"), (2001, "at most 2000")])
def test_mmd_rows_out_of_range(rows, bound):
    with pytest.raises(ValueError, match=rf"expected rows to be {bound}, got {rows}"):
        Mmd(rows=rows)


def test_an_alarm_before_there_is_a_champion():
    with pytest.raises(ValueError, match=r"expected alarms\.1 to be at least 1, got 0; raise it"):
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
        Evidently(method="columns", columns=("entropy",)).html(make_view(images[:20], images[20:40], champion=broken))
