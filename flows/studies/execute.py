"""Execute an order of `ebbdoor study`: as a Prefect flow, or as the bare loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import settings
from flows.execute import expect_answer
from flows.runs.costs import tell_costs, telling
from flows.servers.companion import prefect_api
from flows.studies.executors import executor_named
from simulator.errors import ScenarioError

if TYPE_CHECKING:
    from simulator.study.model import Study
    from simulator.study.progress import Listen


@dataclass(frozen=True, slots=True)
class StudyOrder:
    """A study to play into `folder`; `name` and `overrides` are how the user gave it. `bare`: without Prefect."""

    study: Study
    name: str
    folder: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    executor: str = "processes"
    workers: int | None = None
    quick: bool = False
    accept_changed_code: bool = False
    bare: bool = False


def execute_study(order: StudyOrder, listen: Listen, say: Callable[[str], None]) -> None:
    """Play the order; `listen` gets its events, `say` prints what is neither progress nor a result."""
    if order.bare:
        with telling(say):
            _bare(order, listen)
        return
    settings.mute_console()
    with _checked(order), prefect_api(settings.default_workspace(), say) as await_server:
        import flows.studies.study  # noqa: F401 - imported while the server starts

        await_server()
        expect_answer()
        with telling(say):
            _as_flow(order, listen)


@contextmanager
def _checked(order: StudyOrder) -> Iterator[None]:
    """Raise `ScenarioError` unless the study can be played, before a server is started; the block's flow knows it."""
    from simulator.study.run import checked

    if order.executor != "work-pool":  # which imports Prefect, and that reads the server's address when it is imported
        executor_named(order.executor, order.workers or order.study.workers)
    with checked(order.study, order.folder, order.quick):
        yield


def _bare(order: StudyOrder, listen: Listen) -> None:
    from simulator.study.expand import timelines_of
    from simulator.study.run import play_study

    if order.executor == "work-pool":
        raise ScenarioError("expected Prefect for the executor work-pool, got --no-prefect; leave one of them out")
    executor = executor_named(order.executor, order.workers or order.study.workers)
    cache = settings.cache_folder(settings.default_workspace())
    tell_costs({each.setting: each.scenario for each in timelines_of(order.study)}.values())
    play_study(
        order.study, order.folder, executor, cache, listen, order.quick, accept_changed_code=order.accept_changed_code
    )


def _as_flow(order: StudyOrder, listen: Listen) -> None:
    from prefect import tags

    from flows.reporting.stamps import TAG
    from flows.studies.study import DISPLAY, study

    token = DISPLAY.set(listen)
    try:
        with tags(TAG):
            study(
                study=order.name,
                overrides=dict(order.overrides),
                executor=order.executor,
                workers=order.workers,
                quick=order.quick,
                accept_changed_code=order.accept_changed_code,
                out=str(order.folder),
            )
    finally:
        DISPLAY.reset(token)
