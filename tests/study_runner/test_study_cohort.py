"""Studies played as a cohort: the same decisions, and readings within the tolerance that is stated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.studies.executors import executor_named
from simulator.errors import ScenarioError
from simulator.study.cohort import Cohort
from simulator.study.executor import Executor
from simulator.study.expand import timelines_of
from simulator.study.model import Study
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
    with pytest.raises(ScenarioError, match="expected workers to be at least 1, got 0"):
        executor_named("cohort", 0)
