"""The loop's own stages as Prefect tasks: the same functions, called from the same threads, seen by the server."""

from __future__ import annotations

from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from simulator.loop.events import Stage
from simulator.records import LineageKey

R = TypeVar("R")


def as_task(name: str, function: Stage[R]) -> Stage[R]:
    """Return a stage as a task that is neither cached, persisted nor retried: the ledger decides what is done.

    The loop plays each arm in a thread that carries the flow's context variables, so Prefect finds the flow run there.
    """
    wrapped: Stage[R] = task(
        function,
        name=name,
        task_run_name=_run_name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=0,
        log_prints=False,
    )
    return wrapped


def _run_name() -> str:
    given = task_run.parameters
    key = LineageKey(arm=given["arm"], control=given["control"])
    return f"{task_run.task_name} {key.name} period {given['period']}"
