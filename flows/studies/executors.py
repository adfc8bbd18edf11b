"""The executors of a study by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, get_args

from flows.settings import TIMELINE
from simulator.errors import ScenarioError

if TYPE_CHECKING:
    from simulator.study.executors.base import Executor

ExecutorName = Literal["processes", "work-pool", "ray", "cohort"]
EXECUTORS: tuple[str, ...] = get_args(ExecutorName)


def executor_named(name: str, workers: int | None = None, deployment: str = TIMELINE) -> Executor:
    """Return an executor of at most `workers` timelines at a time; None: one a core. For `cohort` it is processes.

    `deployment` is read by `work-pool` alone. Raises `ScenarioError` for an unknown name, `PluginError` for `ray` where
    Ray is not installed. Only what is named is imported.
    """
    if name == "processes":
        from simulator.study.executors.processes import Processes

        return Processes(workers)
    if name == "cohort":
        from flows.commands.output import say
        from simulator.study.executors.cohort import Cohort

        return Cohort(processes=workers, say=say)
    if workers is not None and workers < 1:
        raise ScenarioError(f"expected workers to be at least 1, got {workers}; raise it")
    count = workers or os.cpu_count() or 1
    if name == "work-pool":
        from flows.studies.work_pool import WorkPool

        return WorkPool(workers=count, deployment=deployment)
    if name == "ray":
        from flows.studies.ray import Ray

        return Ray(workers=count)
    raise ScenarioError(f"expected executor to be one of {', '.join(EXECUTORS)}, got '{name}'; correct it")
