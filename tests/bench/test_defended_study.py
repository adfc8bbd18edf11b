"""What defenses cost beside their calls, from hand-written rows; and a real study of two timelines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import defended_study


def row(arm: str, seed: int, seconds: float, own: float | None = None) -> dict[str, Any]:
    return {"arm": arm, "seed": seed, "seconds": seconds, "defense_seconds": own}


def test_the_share_by_hand() -> None:
    rows = [row("bare", 0, 10.0), row("bare", 1, 20.0), row("defended", 1, 26.0, 5.0), row("defended", 0, 20.5, 10.0)]
    found = defended_study.costs(rows)
    assert found == {
        "timelines": 4,
        "bare_seconds": 30.0,
        "defended_seconds": 46.5,
        "defense_seconds": 15.0,
        "beside": 0.1,  # 1.5 of 15
        "beside_by_seed": {"median": pytest.approx(0.125), "min": 0.05, "max": 0.2},
    }
    assert "beside their calls defenses cost +10.0% of them (by seed: +12.5%, +5.0% to +20.0%)" in (
        defended_study.text_of(found)
    )


def test_it_plays_a_real_study(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small = {**defended_study._STUDY["scenario"], "periods": 1, "source": {"use": "digits"}}
    small["stream"] = {"base": 240, "batch": 60, "validation": 60, "test": 60}
    small["recipe"] = {"network": {"use": "compact-cnn"}, "update": {"batch": 32}}
    small["campaign"] = {"use": "one-shot", "period": 0, "rate": 0.05}
    small["trusted"] = {"images": 40, "from": "latest"}
    small["arms"] = {"bare": {}, "defended": {"defenses": [{"use": "none"}, {"use": "strip"}]}}
    monkeypatch.setattr(defended_study, "_STUDY", {**defended_study._STUDY, "scenario": small})
    defended_study.main(["--seeds", "1", "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert found["timelines"] == 2
    assert 0 < found["defense_seconds"] < found["defended_seconds"]
