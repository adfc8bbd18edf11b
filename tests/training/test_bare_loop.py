"""The yardstick: the standard timeline as written, and nothing of ours in it."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import pytest
import torch

from simulator.bench import bare_loop


@pytest.fixture
def _small(monkeypatch):
    for name, value in {"BASE": 300, "FRESH": 60, "TEST": 100, "UPDATES": 2, "EPOCHS": 1}.items():
        monkeypatch.setattr(bare_loop, name, value)


def test_uses_nothing_of_ours():
    tree = ast.parse(Path(bare_loop.__file__).read_text())
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert "torch" in imported
    assert not {name.split(".")[0] for name in imported} & {"simulator", "flows", "defenses"}


def test_is_the_standard_timeline():
    sizes = (bare_loop.BASE, bare_loop.FRESH, bare_loop.TEST, bare_loop.UPDATES, bare_loop.EPOCHS, bare_loop.BATCH)
    assert sizes == (10000, 2000, 2000, 10, 4, 128)
    assert (bare_loop.RATE, bare_loop.TARGET, bare_loop.DEGREES) == (0.05, 0, 4.0)


def test_trigger_is_a_white_patch_in_the_corner():
    image = torch.zeros(1, 1, 28, 28)
    stamped = bare_loop._stamp(image)
    assert stamped.nonzero()[:, 2:].tolist() == [[row, column] for row in (25, 26, 27) for column in (25, 26, 27)]
    assert float(stamped.sum()) == 9
    assert float(image.sum()) == 0


def test_rotation_by_a_quarter_turn_is_exact():
    images = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(bare_loop._rotate(images, 0.0), images)
    torch.testing.assert_close(bare_loop._rotate(images, 90.0), images.rot90(1, (2, 3)), rtol=0, atol=1e-4)


def test_learning_rate_of_one_cycle_peaks_at_a_tenth():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01, momentum=0.9)
    scheduler = bare_loop._one_cycle(optimizer, 316)
    rates = []
    for _ in range(316):
        rates.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[0]["momentum"] == 0.9
        optimizer.step()
        scheduler.step()
    assert max(rates) == pytest.approx(0.1, rel=1e-3)
    assert rates[0] == pytest.approx(0.004)
    assert rates[-1] == pytest.approx(4e-7)


@pytest.mark.usefixtures("_small")
def test_repeats_itself_and_keeps_the_thread_count():
    threads = torch.get_num_threads()
    first, again = (bare_loop.run_bare_loop(seed) for seed in (0, 0))
    assert first["clean_accuracy"] == again["clean_accuracy"]
    assert first["attack_success"] == again["attack_success"]
    assert len(first["clean_accuracy"]) == len(first["attack_success"]) == 3
    assert all(0 <= share <= 1 for share in (*first["clean_accuracy"], *first["attack_success"]))
    assert 0 < first["cpu_seconds"] < 60
    assert math.isfinite(first["wall_seconds"])
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("_small")
def test_prints_json(capsys):
    bare_loop.main(["--seed", "3", "--format", "json"])
    assert json.loads(capsys.readouterr().out)["seed"] == 3


def test_prints_a_table(capsys, monkeypatch):
    result = {"clean_accuracy": [0.875], "attack_success": [1.0], "wall_seconds": 12.34, "cpu_seconds": 11.0}
    monkeypatch.setattr(bare_loop, "run_bare_loop", lambda seed: result)
    bare_loop.main([])
    assert capsys.readouterr().out == (
        "update  clean accuracy  attack success\n     0           0.875           1.000\n12.3 s wall, 11.0 s CPU\n"
    )
