"""Runs whose batches arrive as files: played as far as they have arrived, resumed to the same records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import SourceError
from simulator.loop.events import Stage
from simulator.loop.run import continue_run, open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.scenario.model import Scenario
from simulator.world.arrivals.admit import admit

from .conftest import Played, digests

#: of the source of digits, 8 x 8; a file of 160 rows has 60 to train on, 20 for the defender, 80 to test on
SMALL: dict[str, Any] = {
    "name": "dropped",
    "periods": 5,
    "device": "cpu",
    "source": {"use": "digits"},
    "drift": [{"use": "rotation", "degrees": 5}],
    "attack": {"use": "patch", "target": 0, "size": 2},
    "campaign": {"use": "persistent", "rate": 0.1},
    "recipe": {"base": {"epochs": 1}, "update": {"epochs": 1, "batch": 30}, "replay": {"share": 0.5}},
    "trusted": {"images": 20},
    "gate": {"use": "accuracy", "tolerance": 0.9},
    "probes": [{"use": "attack-success"}],
}


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    folder = tmp_path / "drop"
    folder.mkdir()
    stream = {"base": 200, "batch": 60, "validation": 50, "relearning": 20, "test": 60, "label_delay": 1}
    return Scenario.model_validate({**SMALL, "stream": {**stream, "arrivals": {"folder": str(folder)}}})


@pytest.fixture
def drop(tmp_path: Path) -> Callable[[int], None]:
    """Put the file of an hour into the drop folder; every hour has rows of its own."""

    def put(hour: int) -> None:
        images = np.random.default_rng(hour).integers(0, 17, (160, 8, 8)).astype(np.uint8) * 15
        name = tmp_path / "drop" / f"20261122T{hour:02d}0000Z.npz"
        np.savez_compressed(name.with_suffix(".part.npz"), images=images, labels=np.arange(160) % 10)
        name.with_suffix(".part.npz").rename(name)

    return put


def play_all(scenario: Scenario, **options: Any) -> Played:
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    return play(head, scenario, registry, ledger, **({"processes": 0} | options))


def files(played: Played, line: str = "main") -> list[str | None]:
    return [entry.record.arrival.file for entry in played[line]]


def test_a_run_is_played_as_far_as_files_have_arrived(
    scenario: Scenario, drop: Callable[[int], None], tmp_path: Path
) -> None:
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    assert [len(entries) for entries in play(head, scenario, registry, ledger, processes=0).values()] == [1, 1]
    for hour in (1, 2, 3):
        drop(hour)
    (tmp_path / "drop" / "20261122T013000Z.npz").write_bytes(b"torn")
    admitted = admit(scenario, "run")
    assert (admitted.last, [name for name, _ in admitted.set_aside]) == (3, ["20261122T013000Z.npz"])
    played = play(head, scenario, registry, ledger, processes=0)
    assert [len(entries) for entries in played.values()] == [4, 4]
    accepted = sorted(path.name for path in (tmp_path / "drop" / "accepted").iterdir())
    assert [name[:21] for name in accepted] == [f"000{hour}-20261122T0{hour}0000Z" for hour in (1, 2, 3)]
    assert files(played) == [None, *(name[-68:-4] for name in accepted)]
    assert files(played, "main.twin") == files(played)
    assert [entry.record.arrival.poisoned for entry in played["main"]] == [20, 6, 6, 6]
    assert [entry.record.arrival.poisoned for entry in played["main.twin"]] == [0] * 4
    assert digests(play_all(scenario)) == digests(played)  # all at once, as one by one


class Stopped(Exception):
    """Where the process is killed."""


def test_a_run_killed_anywhere_resumes_to_the_same_records(scenario: Scenario, drop: Callable[[int], None]) -> None:
    for hour in (1, 2, 3):
        drop(hour)
    admit(scenario, "run")
    undisturbed = digests(play_all(scenario))

    def killed_at(stage: str, at: int) -> Callable[[str, Stage], Stage]:
        def wrap(name: str, function: Stage) -> Stage:
            def call(arm: str, control: str, period: int, **arguments: Any) -> dict[str, Any]:
                if (name, period) == (stage, at):
                    raise Stopped
                return function(arm, control, period, **arguments)

            return call

        return wrap

    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    for stage, at in (("ingest", 1), ("train", 2), ("gate", 3), ("commit", 3)):
        with pytest.raises(Stopped):
            play(head, scenario, registry, ledger, processes=0, wrap=killed_at(stage, at))
        head, scenario = continue_run(registry, ledger, "run")
    assert digests(play(head, scenario, registry, ledger, processes=0)) == undisturbed


def test_a_changed_accepted_file_is_refused_on_resume(
    scenario: Scenario, drop: Callable[[int], None], tmp_path: Path
) -> None:
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "run")
    for hour in (1, 2, 3):
        drop(hour)
    admit(scenario, "run")
    play(head, scenario, registry, ledger, processes=0, until=2)
    first, second, third = sorted((tmp_path / "drop" / "accepted").iterdir())
    good = second.read_bytes()
    second.write_bytes(first.read_bytes())  # period 3 trains on the rows of period 2, whose labels come then
    with pytest.raises(SourceError, match="to hold the images and labels that it was accepted with, got others; put"):
        play(head, scenario, registry, ledger, processes=0)
    second.unlink()
    third.rename(third.with_name(third.name.replace("0003-", "0002-")))
    with pytest.raises(SourceError, match=r"expected period 2 in .* to be the accepted file .* got 0002-20261122T03"):
        play(head, scenario, registry, ledger, processes=0)
    third.with_name(third.name.replace("0003-", "0002-")).unlink()
    with pytest.raises(SourceError, match=r"expected period 2 in .* to be the accepted file .* got none; put it back"):
        play(head, scenario, registry, ledger, processes=0)
    with pytest.raises(SourceError, match="to hold the accepted files of 2 committed periods, got 1; put the others"):
        admit(scenario, "run", committed=2)
    second.write_bytes(good)
    assert len(play(head, scenario, registry, ledger, processes=0)["main"]) == 3
    drop(3)
    assert admit(scenario, "run", committed=2).last == 3
    assert len(play(head, scenario, registry, ledger, processes=0)["main"]) == 4
