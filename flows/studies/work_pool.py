"""Timelines as flow runs of a deployment, each wherever a worker of its work pool plays it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar, final
from uuid import UUID, uuid4

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelling

from flows.reporting.stamps import TAG
from flows.settings import TIMELINE
from simulator.errors import EbbdoorError, StoreUnavailableError, WorkerError
from simulator.study.executors.base import Executor, Tell, TimelineEnd, silent
from simulator.study.play import read_timeline
from simulator.study.timelines import Timeline

_POLL = 1.0  # seconds between two queries for the flow runs under way
_PATIENCE = 600.0  # seconds for which the server may be away
_WORKER = 60.0  # seconds until a worker that was just started is known to its server
_SEEN = 15.0  # seconds until a shared folder shows what another machine wrote
_MOST = 100  # flow runs asked for at a time

P = ParamSpec("P")
R = TypeVar("R")


@final
class WorkPool(Executor):
    """Has at most `workers` flow runs of `deployment` at a time; that is a deployment of the flow `timeline`.

    Each is a crash boundary of its own: one that crashes costs its timeline and no other. The folder decides what is
    complete, never a flow run's state.
    """

    def __init__(self, *, workers: int, deployment: str = TIMELINE) -> None:
        self._workers = workers
        self._deployment = deployment

    def play(
        self, todo: Sequence[Timeline], folder: Path, cache: Path | None, tell: Tell = silent
    ) -> Generator[TimelineEnd, None, None]:
        """Play `todo`. Its `folder` must be there for the workers under the same path."""
        waiting = deque(todo)
        under_way: dict[UUID, Timeline] = {}
        reported: set[UUID] = set()
        once = str(uuid4())
        with get_client(sync_client=True) as client:
            _patiently(_expect_worker, client, self._deployment)
            try:
                while waiting or under_way:
                    while waiting and len(under_way) < self._workers:
                        begun = _patiently(self._begin, waiting[0], folder, cache, once)
                        under_way[begun] = waiting.popleft()
                    found = _patiently(_read, client, list(under_way))
                    for run in found.values():
                        if run.state is not None and run.state.is_running() and run.id not in reported:
                            reported.add(run.id)
                            tell(under_way[run.id].name)
                    for ended in [each for each in under_way if _is_over(found.get(each))]:
                        yield _end(under_way.pop(ended), found.get(ended), folder)
                    time.sleep(_POLL)
            finally:
                for left in under_way:
                    with suppress(PrefectException, httpx.HTTPError, OSError):
                        client.set_flow_run_state(left, Cancelling(message="the study that asked for it has ended"))

    def _begin(self, timeline: Timeline, folder: Path, cache: Path | None, once: str) -> UUID:
        """Create a flow run; a repeated call, after no answer came, gets the same one."""
        parameters = {"folder": str(folder), "name": timeline.name, "cache": None if cache is None else str(cache)}
        begun = run_deployment(
            self._deployment,
            parameters=parameters,
            timeout=0,
            flow_run_name=f"{timeline.study} {timeline.name}",
            tags=[TAG],
            idempotency_key=f"{once} {timeline.name}",
        )
        return UUID(str(begun.id))


def _expect_worker(client: SyncPrefectClient, name: str) -> None:
    """Raise `WorkerError` unless the deployment exists and a worker takes its flow runs."""
    try:
        pool = client.read_deployment_by_name(name).work_pool_name
    except ObjectNotFound:
        raise WorkerError(
            f"expected the deployment {name} on the Prefect server, got none; register it with `ebbdoor up`, "
            "or choose the executor processes"
        ) from None
    if pool is None:  # a process of the user's own serves it
        return
    kind = client.read_work_pool(pool)
    deadline = time.monotonic() + _WORKER
    while not (kind.is_push_pool or kind.is_managed_pool):
        if any(worker.status is WorkerStatus.ONLINE for worker in client.read_workers_for_work_pool(pool)):
            return
        if time.monotonic() > deadline:
            raise WorkerError(
                f"expected a worker of work pool {pool}, got none in {_WORKER:.0f} s; start one with `ebbdoor up`, "
                f"on other machines with `prefect worker start --pool {pool}`"
            )
        time.sleep(_POLL)


def _read(client: SyncPrefectClient, ids: list[UUID]) -> dict[UUID, FlowRun]:
    found: dict[UUID, FlowRun] = {}
    for first in range(0, len(ids), _MOST):
        these = FlowRunFilter(id=FlowRunFilterId(any_=ids[first : first + _MOST]))
        found |= {run.id: run for run in client.read_flow_runs(flow_run_filter=these, limit=_MOST)}
    return found


def _is_over(run: FlowRun | None) -> bool:
    """Whether a flow run has ended; one that is not found was deleted."""
    return run is None or (run.state is not None and run.state.is_final())


def _end(timeline: Timeline, run: FlowRun | None, folder: Path) -> TimelineEnd:
    completed = run is not None and run.state is not None and run.state.is_completed()
    deadline = time.monotonic() + (_SEEN if completed else 0)
    try:
        while read_timeline(folder, timeline) is None:
            if time.monotonic() > deadline:
                return TimelineEnd(timeline.name, WorkerError(_sentence(run, completed, folder)))
            time.sleep(_POLL)
    except EbbdoorError as error:
        return TimelineEnd(timeline.name, error)
    return TimelineEnd(timeline.name)


def _sentence(run: FlowRun | None, completed: bool, folder: Path) -> str:
    if run is None or run.state is None:
        return "expected its flow run to complete, got none: it was deleted; begin the study again"
    if completed:
        return (
            f"expected flow run '{run.name}' to play into {folder}, got nothing there; let the workers reach that "
            "folder under the same path, for instance on a shared disk"
        )
    why = f": {run.state.message.rstrip('.')}" if run.state.message else ""
    return f"expected flow run '{run.name}' to complete, got {run.state.name}{why}; read its log in Prefect"


def _patiently(function: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R:
    """Call `function` until the server answers; a refusal is a `WorkerError`."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return function(*arguments, **keywords)
        except (httpx.HTTPError, OSError) as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
                answer = f"{error.response.status_code}: {error.response.text[:500]}"
                raise WorkerError(f"expected the Prefect server to take a timeline, got {answer}") from error
            if time.monotonic() > deadline:
                raise StoreUnavailableError(
                    f"expected the Prefect server to answer, got {type(error).__name__} for {_PATIENCE:.0f} s; "
                    "see that it runs, then begin the study again: what is complete is not played again"
                ) from error
            time.sleep(_POLL)
