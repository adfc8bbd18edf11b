"""Play a study: keep the timelines that are complete in its folder, play the others, write the results."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, final

from simulator.errors import EbbdoorError, ScenarioError, StoreError, WorkerError
from simulator.production.registry.locked import locked_folder
from simulator.study.changed_code import changed_timelines, expect_same
from simulator.study.changed_column import COLUMN, Changed
from simulator.study.claims.sentences import to_json
from simulator.study.claims.weigh import verdicts
from simulator.study.examine import check_study
from simulator.study.executors.base import Executor
from simulator.study.expand import timelines_of
from simulator.study.model import Study
from simulator.study.play import is_there, read_timeline, timelines_folder
from simulator.study.progress import Kind, Listen, StudyEvent, ignore, time_left
from simulator.study.tables import digests_of, write_tables
from simulator.study.timelines import PlayedTimeline, Timeline
from simulator.system.files import read_json, write_json

_NOTE = "study.json"
_TABLES = "tables"
_VERDICTS = "verdicts.json"
#: what `checked` has found good: a study, its folder, and whether it is played with `--quick`
_CHECKED: ContextVar[tuple[Study, Path, bool] | None] = ContextVar("_CHECKED", default=None)


@final
class UnfinishedStudy(EbbdoorError):
    """Some timelines failed; the complete ones are kept: `played`. The exit code is that of the failures."""

    def __init__(self, failures: Sequence[tuple[str, EbbdoorError]], played: Sequence[PlayedTimeline]) -> None:
        names: dict[str, list[str]] = {}
        for name, error in failures:
            names.setdefault(str(error), []).append(f"'{name}'")
        super().__init__("\n".join(f"{_some(found)}: {sentence}" for sentence, found in names.items()))
        self.played = list(played)
        lost = any(isinstance(error, WorkerError) for _, error in failures)
        self.exit_code = WorkerError.exit_code if lost else failures[0][1].exit_code


def _some(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"timeline {names[0]}"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"timelines {', '.join(names[:3])}{more}"


@contextmanager
def checked(study: Study, folder: Path, quick: bool = False) -> Iterator[None]:
    """Raise `ScenarioError` unless `study` can be played into `folder`; `play_study` in the block does not check again.

    The data are checked too, unless every timeline is there.
    """
    if _CHECKED.get() != (study, folder, quick):
        _expect_same_study(study, folder)
        there = (is_there(folder, timeline) for timeline in timelines_of(study, quick))
        check_study(study, data=not all(there))
    token = _CHECKED.set((study, folder, quick))
    try:
        yield
    finally:
        _CHECKED.reset(token)


def play_study(
    study: Study,
    folder: Path,
    executor: Executor,
    cache: Path | None,
    listen: Listen = ignore,
    quick: bool = False,
    accept_changed_code: bool = False,
) -> list[PlayedTimeline]:
    """Play what is not complete in `folder` and return every timeline of the study, in the order of `timelines_of`.

    `cache`: see `Executor.play`. Raises `ScenarioError` when another study lies in the folder or this one cannot be
    played, before anything is trained; `RunHeldError` while another process plays it; `UnfinishedStudy` at the end when
    timelines failed. Complete timelines are always kept; a study that is refused leaves no folder behind.

    Timelines that were played with other third-party code or data are refused with `ChangedCodeError`, whether they lie
    in the folder already or were played while something was edited; with `accept_changed_code` the study notes them.
    """
    timelines = timelines_of(study, quick)
    with checked(study, folder, quick):
        changed = changed_timelines(timelines, folder)
    expect_same(changed, folder, accept=accept_changed_code)
    with locked_folder(folder, timelines_folder(folder).name, f"the study in {folder}"):
        _expect_same_study(study, folder)  # another process may have begun a study meanwhile
        found = {timeline.name for timeline in timelines if read_timeline(folder, timeline) is not None}
        todo = [timeline for timeline in timelines if timeline.name not in found]
        # its `notes` may have changed since the study was begun
        changed = changed_code_of(folder) | changed
        _write_note(study, folder, changed)
        failures = _play(todo, len(timelines), folder, executor, cache, listen)
        if todo:
            edited = {name: names for name, names in changed_timelines(timelines, folder).items() if name not in found}
            expect_same(edited, folder, accept=accept_changed_code)
            _write_note(study, folder, changed | edited)
        played = read_played(study, folder, quick)
        _write_results(study, folder, played, changed_code_of(folder))
        if played:
            _write_note(study, folder, changed_code_of(folder), digests_of(folder))
    if failures:
        raise UnfinishedStudy(failures, played)
    return played


def read_played(study: Study, folder: Path, quick: bool = False) -> list[PlayedTimeline]:
    """Return the timelines of the study that are complete in `folder`, in the order of `timelines_of`."""
    found = (read_timeline(folder, timeline) for timeline in timelines_of(study, quick))
    return [played for played in found if played is not None]


def read_study(folder: Path) -> Study:
    """Return the study that a folder was played from."""
    path = folder / _NOTE
    if not path.exists():
        raise ScenarioError(f"expected a study in {folder}, got no {_NOTE}; check the folder")
    try:
        return Study.model_validate(read_json(path)["study"])
    except (ValueError, KeyError) as error:
        raise StoreError(f"expected {path} to hold a study, got {type(error).__name__}; delete that file") from error


def changed_code_of(folder: Path) -> dict[str, list[str]]:
    """Return which timelines of a folder were knowingly kept though played with other code or data: name -> what."""
    path = folder / _NOTE
    return dict(read_json(path).get(COLUMN, {})) if path.exists() else {}


def _play(
    todo: Sequence[Timeline], total: int, folder: Path, executor: Executor, cache: Path | None, listen: Listen
) -> list[tuple[str, EbbdoorError]]:
    """Play `todo`, send events to `listen`, and return what failed."""
    failures: list[tuple[str, EbbdoorError]] = []
    found, ended, began = total - len(todo), 0, time.monotonic()
    lock = threading.Lock()

    def send(kind: Kind, name: str = "", sentence: str = "") -> None:
        left = time_left(time.monotonic() - began, ended, len(todo))
        with lock:
            listen(StudyEvent(kind, total, found, ended - len(failures), len(failures), left, name, sentence))

    send("study-started")
    with closing(executor.play(todo, folder, cache, lambda name: send("timeline-started", name))) as ends:
        for end in ends:
            ended += 1
            if end.error is not None:
                failures.append((end.name, end.error))
            send("timeline-finished" if end.error is None else "timeline-failed", end.name, str(end.error or ""))
    send("study-finished")
    return failures


def _write_note(
    study: Study, folder: Path, changed: Mapping[str, Sequence[str]], tables: Mapping[str, str] | None = None
) -> None:
    """Write which study this is, and which of its timelines were played with other code or data, by name.

    `tables`: the digests of its tables; None keeps those that are noted.
    """
    path = folder / _NOTE
    known = dict(read_json(path).get(_TABLES) or {}) if tables is None and path.exists() else dict(tables or {})
    note: dict[str, Any] = {"digest": study.digest(), "study": study.model_dump(mode="json")}
    note |= {COLUMN: dict(changed)} if changed else {}
    write_json(path, note | ({_TABLES: known} if known else {}))


def _expect_same_study(study: Study, folder: Path) -> None:
    """Refuse a folder of another study, with the keys in which they differ."""
    if not (folder / _NOTE).exists():
        return
    other = read_study(folder)
    if other.digest() != study.digest():
        mine, theirs = study.model_dump(mode="json"), other.model_dump(mode="json")
        keys = ", ".join(key for key in mine if mine[key] != theirs[key])
        raise ScenarioError(
            f"expected {folder} to hold this study or none, got one that differs in {keys}; choose another folder: "
            "what was trained before is found in the cache"
        )


def _write_results(study: Study, folder: Path, played: Sequence[PlayedTimeline], changed: Changed) -> None:
    """Write tables, verdicts and report of what was `played`, if anything was; `changed`: see `changed_code_of`."""
    from simulator.study.report.html import write_report  # draws pictures

    if played:
        judged = verdicts(study, played)
        write_tables(folder, played, changed)
        write_json(folder / _VERDICTS, to_json(judged))
        write_report(folder, study, played, [claim.verdict for claim in judged.claims], changed)
