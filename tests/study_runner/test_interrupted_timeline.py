"""What is removed of a timeline that was interrupted: its own records, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from simulator.loop.run import lineages_of
from simulator.records import LineageEnd
from simulator.study.expand import timelines_of
from simulator.study.model import Study
from simulator.study.play import clear_interrupted, play_here
from simulator.study.timelines import PlayedTimeline


def test_records_go_and_what_others_put_there_stays(tmp_path: Path) -> None:
    ours = ["head.json", "main/0000.json", "main/after-0000.00.json", "main.twin/0000.json", "main.twin/ended.json"]
    others = ["writer.json", "notes.txt", "main/notes.json", "figures/0000.json"]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    clear_interrupted(tmp_path, ["main", "main.twin"])
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(others)


def test_killed_after_a_twin_diverged_it_is_played_as_if_undisturbed(
    tiny_study: Callable[..., Study], tmp_path: Path
) -> None:
    (timeline, *_) = timelines_of(tiny_study(seeds=[0]))
    whole = play_here(timeline, tmp_path / "whole", None)
    (twin,) = [key for key in lineages_of(timeline.scenario) if key.name == "slow.twin"]
    end = LineageEnd(run=timeline.name, arm="slow", control=twin.control, period=1, why="left by the killed process")
    left = tmp_path / "killed" / "timelines" / timeline.name / twin.name / "ended.json"
    left.parent.mkdir(parents=True)
    left.write_text(end.model_dump_json())
    again = play_here(timeline, tmp_path / "killed", None)
    assert again.ended == ()
    assert digests(again) == digests(whole)


def digests(played: PlayedTimeline) -> dict[str, list[str]]:
    return {name: [entry.record.digest() for entry in entries] for name, entries in played.entries.items()}
