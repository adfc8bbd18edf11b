"""Networks side by side: worked figures, the order of the runs, and what the program prints."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from benchmarks import networks
from benchmarks.networks_front import picture, summary, table
from simulator.production.training.networks import build_network
from simulator.scenario.model import Use


def run(network, seed, seconds, accuracy):
    return {
        "network": network,
        "seed": seed,
        "parameters": 1234,
        "samples": 600,
        "cpu_seconds": seconds,
        "accuracy": accuracy,
    }


RUNS = [
    run("slow", 1, 6.0, 0.80),
    run("slow", 2, 4.0, 0.84),
    run("slow", 3, 5.0, 0.88),
    run("pack.module:quick", 1, 2.0, 0.81),
    run("pack.module:quick", 2, 2.5, 0.82),
    run("pack.module:quick", 3, 2.0, 0.86),
    run("worse", 3, 3.0, 0.70),
    run("apart", 9, 10.0, 0.90),
]


def test_summary_by_hand():
    quick, worse, slow, apart = summary(RUNS)
    assert [row["network"] for row in (quick, worse, slow, apart)] == ["pack.module:quick", "worse", "slow", "apart"]
    assert (quick["cpu_seconds"], quick["images_per_second"], quick["speed"]) == (2.0, 300.0, 2.5)  # of 3, 1.6, 2.5
    assert quick["seeds"] == [1, 2, 3]
    assert slow["images_per_second"] == 120
    # Student's t at 0.975 with two degrees of freedom is 4.3027 in the tables; deviation of .80 .84 .88 is .04
    half = 4.302653 * 0.04 / math.sqrt(3)
    assert slow["accuracy"] == pytest.approx(0.84)
    assert slow["interval"] == pytest.approx((0.84 - half, 0.84 + half), abs=1e-6)
    assert quick["difference"] == pytest.approx(-0.01)  # .01, -.02, -.02: deviation sqrt(3) / 100
    assert quick["difference_interval"] == pytest.approx((-0.01 - 0.04302653, -0.01 + 0.04302653), abs=1e-6)
    assert (slow["speed"], slow["difference"], slow["difference_interval"]) == (1.0, 0.0, (0.0, 0.0))


def test_what_cannot_be_known_is_none():
    _, worse, _, apart = summary(RUNS)
    assert worse["interval"] is None
    assert worse["difference"] == pytest.approx(-0.18)
    assert (apart["speed"], apart["difference"], apart["difference_interval"]) == (None, None, None)


def test_front():
    assert [row["front"] for row in summary(RUNS)] == [True, False, True, True]
    level = [run("a", 1, 1.0, 0.8), run("b", 1, 2.0, 0.8)]
    assert [row["front"] for row in summary(level)] == [True, False]


def test_table():
    lines = table(summary(RUNS)).splitlines()
    assert [line.split("  ")[0].strip() for line in lines[1:]] == ["quick *", "worse", "slow *", "apart *"]
    assert " ".join(lines[1].split()) == ("quick * 1,234 3 2.00 300 2.50 0.8300 0.7643 to 0.8957 -1.00 -5.30 to +3.30")
    assert lines[4].split() == ["apart", "*", "1,234", "1", "10.00", "60", "0.9000"]


def test_picture_is_the_same_each_time_and_shows_all():
    first, again = (picture(summary(RUNS)) for _ in range(2))
    assert first == again
    assert picture(summary(RUNS[:-1])) != first
    assert first.lstrip().startswith("<?xml")


@pytest.fixture(scope="module")
def measured():
    return list(networks.runs(["standard-cnn", "compact-cnn", "benchmarks.alternatives:wide"], [5, 6], rows=260))


def test_runs_take_turns(measured):
    names = [name.rpartition(":")[2] for name in (found["network"] for found in measured)]
    assert names == ["standard-cnn", "compact-cnn", "wide", "compact-cnn", "wide", "standard-cnn"]
    assert [found["seed"] for found in measured] == [5, 5, 5, 6, 6, 6]


def test_runs_say_what_they_did(measured):
    assert {found["samples"] for found in measured} == {4 * 260}
    assert all(0.1 < found["accuracy"] < 0.9 for found in measured)
    assert all(0 < found["cpu_seconds"] < 30 for found in measured)
    assert measured[0]["parameters"] == 8834


def test_runs_repeat_themselves(measured):
    again = list(networks.runs(["compact-cnn"], [6], rows=260))
    assert again[0]["accuracy"] == measured[3]["accuracy"]


@pytest.mark.parametrize("name", networks.TRIED)
@pytest.mark.parametrize(("channels", "size"), [(1, (28, 28)), (3, (32, 32)), (3, (9, 14))])
def test_alternatives_take_images(name, channels, size):
    use = Use(use=f"benchmarks.alternatives:{name}")
    model = build_network(use, channels=channels, size=size, classes=6, seed=0)
    assert model(torch.rand(2, channels, *size)).shape == (2, 6)
    assert isinstance(model[-1], nn.Linear)


def test_reads_what_it_wrote_and_draws(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "runs", lambda *chosen: RUNS)
    networks.main(["slow", "--seeds", "1-3", "--format", "json"])
    written = capsys.readouterr()
    assert json.loads(written.out)["runs"] == RUNS
    assert "slow, seed 2: 4.00 s CPU, accuracy 0.8400" in written.err
    half = tmp_path / "half.json"
    half.write_text(json.dumps({"runs": RUNS[:4]}))
    rest = tmp_path / "rest.json"
    rest.write_text(json.dumps({"runs": RUNS[4:]}))
    networks.main(["--read", str(half), "--read", str(rest), "--picture", str(tmp_path / "front.svg")])
    assert capsys.readouterr().out == table(summary(RUNS)) + "\n"
    assert (tmp_path / "front.svg").read_text("utf-8") == picture(summary(RUNS))


BAD = [
    (["standard-cn"], "expected a known network, or module:Name, got 'standard-cn'"),
    (["--seeds", "9-3"], "expected seeds as FIRST-LAST or one number, got '9-3'"),
    (["--seeds", "some"], "expected seeds as FIRST-LAST or one number, got 'some'"),
    (["--rows", "1"], "expected from 2 to 60000 rows, got '1'"),
    (["--rows", "70000"], "expected from 2 to 60000 rows, got '70000'"),
    (["--read", "no-such-file.json"], "expected a file that --format json wrote, got no-such-file.json"),
]


@pytest.mark.parametrize("text", ['{"runs": []}', '{"runs": [3]}', '{"runs": [{"seed": 1}]}', "[]", "no JSON"])
def test_a_file_of_something_else_is_refused(text, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"expected a file that --format json wrote, got .*other\.json"):
        networks.main(["--read", str(path)])


@pytest.mark.parametrize(("arguments", "sentence"), BAD)
def test_a_users_mistake_is_a_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        networks.main(arguments)
    told = capsys.readouterr().err + str(stopped.value.code)
    assert sentence in told
    assert stopped.value.code != 0
