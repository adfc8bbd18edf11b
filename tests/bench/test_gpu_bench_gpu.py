"""The GPU bench on CUDA, at next to nothing: every way is measured, recorded and not."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.gpu import __main__ as command

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device usable by this torch"),
]


def test_every_way_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--tiny", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    ways = report["timelines"]["ways"]
    assert {name: way["recorded"] for name, way in ways.items()} == {
        "alone": True, "alone-unrecorded": False, "cohort": True, "cohort-unrecorded": False, "cohort-apart": True,
    }  # fmt: skip
    assert all(way["peak_memory_bytes"] > 0 for way in ways.values())
    assert set(report["training"]["ways"]) == {"alone", "alone-unrecorded", "together", "together-unrecorded"}
    assert report["peaks"]["tf32"] > 0
    assert report["resnet18"]["ours_unrecorded"] > 0
