"""The GPU bench plays whole on a CPU, at next to nothing; what it counts is counted right."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import residual
from benchmarks.gpu.clock import Cost
from benchmarks.gpu.roofline import Count, counted
from benchmarks.gpu.sizes import TINY, WHOLE
from benchmarks.gpu.table import table
from benchmarks.gpu.timelines import standard_timelines
from benchmarks.gpu.training import distance
from simulator.bench.standard import STANDARD
from simulator.scenario.model import Scenario

CPU = torch.device("cpu")

#: standard-cnn at 28 x 28: three convolutions and a Linear; the gradient for the images is not computed
FORWARD = 2 * (28 * 28 * 8 * 9 + 14 * 14 * 16 * 8 * 9 + 7 * 7 * 32 * 16 * 9 + 32 * 3 * 3 * 10)
FLOPS = 3 * FORWARD - 2 * 28 * 28 * 8 * 9


@pytest.fixture(scope="module")
def report() -> Any:
    """What the command prints as JSON."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr(command.sys.stdout, "write", written.append)
        try:
            command.main(["--device", "cpu", "--tiny", "--format", "json"])
        finally:
            torch.set_num_threads(threads)
    return json.loads("".join(written))


def test_timelines_are_played_every_way(report: Any) -> None:
    ways = report["timelines"]["ways"]
    assert {name: (way["timelines"], way["processes"]) for name, way in ways.items()} == {
        "alone": (1, 0), "cohort": (2, 1), "cohort-apart": (2, 2),
    }  # fmt: skip
    for way in ways.values():
        assert way["seconds_a_timeline"] == pytest.approx(way["seconds"] / way["timelines"])
        assert way["images"] == way["timelines"] * (256 + 2 * 64)
        assert way["images_per_second"] == pytest.approx(way["images"] / way["seconds"])
        assert not way["recorded"]
    assert ways["cohort"]["starting_seconds"] == 0 < ways["cohort-apart"]["starting_seconds"]
    assert ways["cohort-apart"]["starting_seconds"] < ways["cohort-apart"]["seconds"]
    best = min(ways["cohort"]["seconds_a_timeline"], ways["cohort-apart"]["seconds_a_timeline"])
    assert report["timelines"]["ratio"] == pytest.approx(ways["alone"]["seconds_a_timeline"] / best)
    assert all(0 <= apart <= 0.05 for apart in report["timelines"]["differences"].values())
    assert report["timelines"]["target"] == 15


def test_training_is_held_against_the_measured_peaks(report: Any) -> None:
    peaks, training = report["peaks"], report["training"]
    assert all(peaks[name] > 0 for name in ("float32", "bfloat16", "copy"))
    assert training["flops_per_image"] == FLOPS
    assert training["bytes_per_image"] > 2 * 4 * 28 * 28 * 8
    for name, members in (("alone", 1), ("together", 2)):
        mine = training["ways"][name]
        assert mine["images_per_second"] == pytest.approx(members * 256 / mine["seconds"])
        assert mine["flops_per_second"] == pytest.approx(FLOPS * mine["images_per_second"])
        assert set(mine["share_of_peak"]) == {"float32", "bfloat16", "copy"}
        assert mine["times_roofline"] == pytest.approx(mine["seconds"] / mine["roofline_seconds"])


def test_resnet18_is_measured_beside_the_plain_recipe(report: Any) -> None:
    found = report["resnet18"]
    assert found["ours"] > 0
    assert found["ratio"] == pytest.approx(found["plain"]["eager"] / found["ours"])
    assert set(found["not_measured"]) == {"compiled", "cuda-graphs"}
    assert (found["precision"], found["target"]) == ("float32", 1.3)


def test_the_report_says_what_it_is_not(report: Any) -> None:
    assert report["tiny"]
    shown = table(report)
    assert "tiny: these figures say nothing" in shown
    assert "peak tf32      not measured" in shown
    assert "utilisation not measured: only a CUDA device's driver tells it" in shown
    assert "2 in 2 processes in" in shown
    assert "plain, compiled    not measured: torch.compile is measured on CUDA only" in shown


def test_the_distance_to_the_roofline_is_that_of_its_higher_side() -> None:
    peaks = {"float32": 50.0, "tf32": 100.0, "bfloat16": 200.0, "copy": 10.0}
    by_compute = distance(Cost(8.0, 7, 0.5), 10, Count(flops=40, bytes=1), peaks)
    assert (by_compute["roofline_seconds"], by_compute["times_roofline"]) == (8.0, 1.0)
    assert by_compute["share_of_peak"] == {"float32": 1.0, "tf32": 0.5, "bfloat16": 0.25, "copy": 0.125}
    by_copy = distance(Cost(8.0, 7, 0.5), 10, Count(flops=40, bytes=10), peaks)
    assert (by_copy["roofline_seconds"], by_copy["bytes_per_second"]) == (10.0, 12.5)
    assert (by_copy["peak_memory_bytes"], by_copy["utilisation"]) == (7, 0.5)


def test_operations_and_bytes_are_counted_and_views_are_free() -> None:
    left, right = torch.ones(3, 4), torch.ones(4, 5)
    assert counted(lambda: left @ right) == Count(flops=2 * 3 * 4 * 5, bytes=4 * (12 + 20 + 15))
    assert counted(lambda: left + left.view(3, 4).T.T) == Count(flops=0, bytes=4 * 36)


def test_the_whole_measurement_plays_the_standard_timeline() -> None:
    timelines = standard_timelines(CPU, WHOLE)
    assert [timeline.seed for timeline in timelines] == list(range(64))
    for timeline in timelines[:2]:
        assert timeline.scenario == Scenario.model_validate({**STANDARD, "seed": timeline.seed})


def test_a_variant_that_no_compiler_makes_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(network: object, batch: object, recipe: object, phase: object, mode: str | None) -> float:
        if mode is not None:
            raise RuntimeError("no compiler\nhere" if mode == "default" else "")
        return 5.0

    batch = SimpleNamespace(images=SimpleNamespace(device=torch.device("cuda")))
    monkeypatch.setattr(residual, "plain_steps", steps)
    found, reasons = residual._variants(None, batch, None, None, lambda text: None)
    assert found == {"eager": 5.0}
    assert reasons["compiled"] == "torch.compile failed with RuntimeError: no compiler"
    assert reasons["cuda-graphs"] == "torch.compile failed with RuntimeError: no reason told"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--device", "cpu"], "expected a CUDA device for the whole measurement, got cpu; add --tiny"),
        (["--device", "gpu", "--tiny"], "expected device to be auto, cpu, cuda or cuda:N, got 'gpu'; correct it"),
        (["--device", "cpu", "--tiny", "--timelines", "1"], "expected --timelines to be at least 2, got 1;"),
        (["--device", "cpu", "--tiny", "--alone", "3"], "expected --alone to be from 1 to 2, got 3; correct it"),
        (
            ["--device", "cpu", "--tiny", "--processes", "3"],
            "expected --processes to be from 2 to 2, got 3;",
        ),
        (["--device", "cpu", "--tiny", "--alone", "0"], "expected --alone to be from 1 to 2, got 0; correct it"),
    ],
)
def test_bad_input_is_a_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert f"bench-gpu: {sentence}" in printed.err
    assert not printed.out


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments in ([], ["--tiny"], ["--device", "cuda:1"]):
        with pytest.raises(SystemExit) as ended:
            command.main(arguments)
        assert ended.value.code == 2
        assert "bench-gpu: expected a CUDA device, got none; run this on a machine" in capsys.readouterr().err


def test_sizes_can_be_chosen() -> None:
    chosen = command._parser().parse_args(["--timelines", "3"])
    assert (command._sizes(chosen).timelines, command._sizes(chosen).alone) == (3, 3)
    chosen = command._parser().parse_args(["--tiny", "--timelines", "5", "--alone", "2"])
    assert (command._sizes(chosen).timelines, command._sizes(chosen).alone) == (5, 2)
    assert command._sizes(chosen).base == TINY.base
