"""Studies played as a cohort: the same decisions, and readings within the tolerance that is stated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from flows.studies.executors import executor_named
from simulator.errors import ScenarioError
from simulator.study.executors import cohort
from simulator.study.executors.base import Executor
from simulator.study.executors.cohort import Cohort
from simulator.study.expand import timelines_of
from simulator.study.model import Study
from simulator.study.progress import StudyEvent
from simulator.study.run import UnfinishedStudy, play_study
from simulator.study.timelines import PlayedTimeline

MakeStudy = Callable[..., Study]

#: what docs/studies.md says: a share moves where a few predictions lie on the edge
TOLERANCE = 0.05


@pytest.fixture(scope="module")
def pair(
    tiny_study: MakeStudy, here: Executor, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[PlayedTimeline], list[PlayedTimeline]]:
    """The tiny study, played one timeline after another and as a cohort in stacks of up to eight."""
    folder, study = tmp_path_factory.mktemp("cohort"), tiny_study()
    alone = play_study(study, folder / "alone", here, None)
    return alone, play_study(study, folder / "together", Cohort(limit=8), None)


def test_decisions_arrivals_and_versions_are_the_same(
    pair: tuple[list[PlayedTimeline], list[PlayedTimeline]],
) -> None:
    for one, other in zip(*pair, strict=True):
        for name, entries in one.entries.items():
            for mine, theirs in zip(entries, other.entries[name], strict=True):
                for part in ("arrival", "decision", "version", "candidate", "parent"):
                    assert getattr(mine.record, part) == getattr(theirs.record, part)
                assert mine.record.judgement.action == theirs.record.judgement.action
                assert mine.record.training["steps"] == theirs.record.training["steps"]


def test_readings_agree_within_the_tolerance(pair: tuple[list[PlayedTimeline], list[PlayedTimeline]]) -> None:
    compared = 0
    for one, other in zip(*pair, strict=True):
        for name, entries in one.entries.items():
            for mine, theirs in zip(entries, other.entries[name], strict=True):
                for key in ("clean/accuracy", "backdoor/attack_success"):
                    assert mine.record.readings[key].value == pytest.approx(
                        theirs.record.readings[key].value, abs=TOLERANCE
                    )
                    compared += 1
                losses = theirs.record.training["losses"]
                assert mine.record.training["losses"] == pytest.approx(losses, abs=1e-3)
    assert compared == 2 * 2 * 2 * 2 * 3  # readings, arms, seeds, lines, periods


@pytest.fixture(scope="module")
def apart(tiny_study: MakeStudy, tmp_path_factory: pytest.TempPathFactory) -> list[PlayedTimeline]:
    """The tiny study, played as a cohort in two processes."""
    return play_study(tiny_study(), tmp_path_factory.mktemp("apart"), Cohort(limit=8, processes=2), None)


def test_several_processes_give_the_records_of_one(
    pair: tuple[list[PlayedTimeline], list[PlayedTimeline]], apart: list[PlayedTimeline]
) -> None:
    assert [one.timeline for one in apart] == [one.timeline for one in pair[1]]
    for one, other in zip(apart, pair[1], strict=True):
        assert one.entries.keys() == other.entries.keys()
        for name, entries in one.entries.items():
            for mine, theirs in zip(entries, other.entries[name], strict=True):
                for part in ("arrival", "decision", "version", "candidate", "parent"):
                    assert getattr(mine.record, part) == getattr(theirs.record, part)
                assert mine.record.judgement.action == theirs.record.judgement.action
                losses = theirs.record.training["losses"]
                assert mine.record.training["losses"] == pytest.approx(losses, abs=1e-3)
                for key in ("clean/accuracy", "backdoor/attack_success"):
                    assert mine.record.readings[key].value == pytest.approx(
                        theirs.record.readings[key].value, abs=TOLERANCE
                    )


def test_a_process_that_dies_takes_what_it_was_playing_and_what_others_say_is_heard_once(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "dying_in_a_cohort.py").write_text(
        "import os\n"
        "from torch import nn\n"
        "from simulator.production.policy import Policy\n"
        "class Dies(Policy):\n"
        "    def decide(self, view):\n"
        "        os._exit(3)\n"
        "def flat(*, channels, size, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))\n"
    )
    dies = {"policy": {"use": "dying_in_a_cohort:Dies"}}
    fast = {"recipe.update.schedule": {"use": "constant", "rate": 0.05}}  # what is equal would be trained once, alone
    arms = {"arms": {"dies": dies, "beside": {}, "far": {}, "off": fast}}
    study = tiny_study({"periods": 1, **arms}, seeds=[0], set={"recipe.network.use": "dying_in_a_cohort:flat"})
    told: list[StudyEvent] = []
    said: list[str] = []
    with pytest.raises(UnfinishedStudy) as raised:
        play_study(study, tmp_path / "out", Cohort(limit=8, processes=2, say=said.append), None, told.append)
    assert {one.timeline.name for one in raised.value.played} == {"far-s0", "off-s0"}
    failed = {event.timeline: event.sentence for event in told if event.kind == "timeline-failed"}
    assert failed.keys() == {"dies-s0", "beside-s0"}
    for name, sentence in failed.items():
        assert sentence.startswith(f"expected the worker of timeline '{name}' to answer, got its end (exit status 3)")
    assert said == ["network 'dying_in_a_cohort:flat' is trained alone, not in a cohort: it uses Flatten"]


def test_processes_are_as_many_as_the_timelines_of_a_gpu_are_worth(
    tiny_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = timelines_of(tiny_study())
    assert cohort.processes_for(todo, 64) == 1
    monkeypatch.setattr(cohort, "choose_device", lambda text: torch.device("cuda"))
    monkeypatch.setattr(cohort, "cores", lambda: 6)
    assert [cohort.processes_for(todo, at_once) for at_once in (1, 4, 7, 8, 64)] == [1, 1, 1, 2, 6]


def test_parts_keep_the_timelines_of_a_seed_together(tiny_study: MakeStudy) -> None:
    todo = timelines_of(tiny_study())
    assert [timeline.name for timeline in todo] == ["slow-s0", "slow-s1", "fast-s0", "fast-s1"]
    named = [[timeline.name for timeline in part] for part in cohort.parts_of(todo, 3)]
    assert named == [["slow-s0", "fast-s0", "slow-s1"], ["fast-s1"]]


def test_a_cohort_goes_on_from_what_is_complete(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study()
    todo = timelines_of(study)
    first = list(Cohort(members=2).play(todo[:2], tmp_path, None))
    assert [end.error for end in first] == [None, None]
    names: list[str] = []
    play_study(study, tmp_path, Cohort(members=2), None, lambda event: names.append(event.timeline))
    assert {name for name in names if name} == {timeline.name for timeline in todo[2:]}


def test_a_timeline_that_fails_leaves_the_others(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "failing_in_a_cohort.py").write_text(
        "from simulator.production.policy import Policy\n"
        "class Fails(Policy):\n"
        "    def decide(self, view):\n"
        "        raise RuntimeError('no such thing')\n"
    )
    study = tiny_study(grid={"policy.use": ["every-period", "failing_in_a_cohort:Fails"]}, seeds=[0])
    with pytest.raises(UnfinishedStudy) as raised:
        play_study(study, tmp_path / "out", Cohort(), None)
    assert len(raised.value.played) == 2


def test_too_few_members_are_refused() -> None:
    with pytest.raises(ScenarioError, match="expected members to be at least 1, got 0"):
        Cohort(members=0)
    with pytest.raises(ScenarioError, match="expected workers to be at least 1, got 0"):
        executor_named("cohort", 0)
