"""The Evidently monitor through Evidently's real report."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from simulator.production.monitors.calibration import jensen_shannon, wasserstein
from simulator.production.monitors.columns import CATEGORICAL, COLUMNS, describe
from simulator.production.monitors.evidently import Evidently


def test_evidentlys_statistics_are_those_the_limits_are_made_of(make_view, model, images):
    view = make_view(images[:300], images[300:1000])
    columns = Evidently(method="columns").observe(view).detail["columns"]
    tables = [describe(model, "4", side) for side in (view.reference, view.current)]
    first = np.repeat([1, 0], [300, 700])[None]
    assert list(columns) == list(COLUMNS)
    for name, found in columns.items():
        statistic = jensen_shannon if name in CATEGORICAL else wasserstein
        (ours,) = statistic(np.concatenate([table[name] for table in tables]), first, 1 - first)
        assert found["statistic"] == pytest.approx(ours, rel=1e-9), name


def test_the_report_is_silent_without_drift_and_rings_with_it(make_view, images):
    generator = torch.Generator().manual_seed(0)
    signals = {"undrifted": [], "drifted": []}
    for seed in range(6):
        drawn = images[torch.randperm(20000, generator=generator)[:900]]
        reference, batch = drawn[:300], drawn[300:]
        signals["undrifted"].append(Evidently(method="columns").observe(make_view(reference, batch, seed=seed)))
        if seed < 2:
            brighter = (batch + 0.1).clamp(0, 1)
            signals["drifted"].append(Evidently(method="columns").observe(make_view(reference, brighter, seed=seed)))
    assert sum(signal.alarm for signal in signals["undrifted"]) <= 1
    assert all(signal.alarm and signal.p_value == 1 / 200 for signal in signals["drifted"])
    for signal in (*signals["undrifted"], *signals["drifted"]):
        assert signal.alarm == (signal.score > signal.threshold) == (signal.p_value <= 0.05)
        columns = signal.detail["columns"].values()
        assert signal.score == max(column["statistic"] / column["limit"] for column in columns)


def test_the_detail_is_small_and_finite(make_view, images):
    signal = Evidently(method="columns").observe(make_view(images[:200], images[200:500]))
    text = json.dumps(signal.detail, allow_nan=False)
    assert len(text) < 2000
    assert signal.detail["rows"] == [200, 300]


def test_same_view_same_signal_and_nothing_touched(make_view, images):
    view = make_view(images[:200], images[200:500])
    before = copy.deepcopy((view.generator.get_state().tolist(), view.reference, view.current))
    weights = copy.deepcopy(view.model.state_dict())
    assert Evidently(method="columns").observe(view) == Evidently(method="columns").observe(view)
    assert view.generator.get_state().tolist() == before[0]
    assert torch.equal(view.reference, before[1])
    assert torch.equal(view.current, before[2])
    assert all(torch.equal(value, weights[name]) for name, value in view.model.state_dict().items())


def test_html_on_demand_is_one_page(make_view, images):
    monitor = Evidently(method="columns", columns=("brightness", "predicted_label"))
    page = monitor.html(make_view(images[:200], images[200:500]))
    assert "</html>" in page
    assert "predicted_label" in page
    assert "sharpness" not in page
    assert len(page) < 5_000_000


def test_a_diverged_champion_leaves_the_pixels(make_view, model, images):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken[4].bias.fill_(float("nan"))
    view = make_view(images[:200], images[200:500], champion=broken)
    signal = Evidently(method="columns").observe(view)
    assert signal.detail["left_out"] == ["confidence", "entropy", "predicted_label"]
    assert list(signal.detail["columns"]) == ["brightness", "contrast", "sharpness"]
    nothing = Evidently(method="columns", columns=("confidence",)).observe(view)
    assert (nothing.score, nothing.alarm, nothing.detail["reason"]) == (None, False, "no column is finite")


def test_images_that_do_not_vary(make_view):
    black = torch.zeros(40, 1, 28, 28)
    still = Evidently(method="columns").observe(make_view(black, black[:30]))
    assert (still.score, still.alarm) == (0.0, False)
    moved = Evidently(method="columns").observe(make_view(black, black[:30] + 0.1))
    assert moved.alarm
    assert np.isfinite(moved.score)


#: Alone in its interpreter, for threads that other tests leave behind draw from Python's global generator too.
_FRESH = """
import random, sys
import numpy as np, torch
from torch import nn
from simulator.production.monitors.base import MonitorView
from simulator.production.monitors.evidently import Evidently
from simulator.production.monitors.mmd import Mmd
assert "evidently" not in sys.modules

def states():
    numpy = np.random.get_state()
    return random.getstate(), numpy[1].tolist(), numpy[2:], torch.get_rng_state().tolist()

model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
images = torch.rand(60, 1, 8, 8)
before = states()
view = MonitorView(images[:30], images[30:], model, "1", torch.Generator().manual_seed(0), 1)
for monitor in (Mmd(), Evidently(), Evidently(method="columns"), Evidently()):
    monitor.observe(view)
    assert states() == before, type(monitor)
assert "evidently" in sys.modules
"""


def test_monitors_leave_global_random_states_alone_and_evidently_is_imported_late_and_quietly():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FRESH], capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
