"""Timelines as tasks of Ray, each on one core and one thread. Only this file imports Ray, which `ebbdoor[ray]` brings.

Without `RAY_ADDRESS` Ray starts for the length of the study: on loopback, without dashboard and usage statistics.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

from simulator.errors import EbbdoorError, PluginError, WorkerError
from simulator.study.executors.base import Executor, Tell, TimelineEnd, silent
from simulator.study.timelines import Timeline
from simulator.system.messages import failure_of, failure_values

#: environment variable that names a Ray cluster to join
ADDRESS = "RAY_ADDRESS"

#: Ray reads these when it is imported or started. Values that the user has set stay.
_QUIET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}
#: For a Ray that we start: where it may form no cluster it uses 127.0.0.1 as this machine's address, also on Linux.
_ALONE = {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_ONE_THREAD = dict.fromkeys(("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_OBJECTS = 100 * 2**20  # bytes of Ray's object store: tasks get a timeline's values and return at most a sentence


@final
class Ray(Executor):
    """Plays at most `workers` timelines at a time, each a task of one core; on CUDA, of its share of the GPUs at hand.

    A worker that dies costs its timeline and no other. Raises `PluginError` where Ray is not installed.
    """

    def __init__(self, *, workers: int) -> None:
        if find_spec("ray") is None:
            raise PluginError("expected the package ray for the executor ray, got none; install ebbdoor[ray]")
        self._workers = workers

    def play(
        self, todo: Sequence[Timeline], folder: Path, cache: Path | None, tell: Tell = silent
    ) -> Generator[TimelineEnd, None, None]:
        """Play `todo`. Where `RAY_ADDRESS` names a cluster, `folder` and `cache` must be there under the same paths."""
        waiting = deque(todo)
        under_way: dict[Any, Timeline] = {}
        with _running(self._workers) as ray:
            task = ray.remote(num_cpus=1, max_retries=0)(_play)
            share = min(1.0, ray.cluster_resources().get("GPU", 0) / self._workers)
            try:
                while waiting or under_way:
                    while waiting and len(under_way) < self._workers:
                        timeline = waiting.popleft()
                        tell(timeline.name)
                        asked = task.options(num_gpus=0 if timeline.scenario.device == "cpu" else share)
                        answer = asked.remote(timeline.values(), str(folder), None if cache is None else str(cache))
                        under_way[answer] = timeline
                    ended, _ = ray.wait(list(under_way), num_returns=1, timeout=1)
                    for answer in ended:
                        yield TimelineEnd(under_way.pop(answer).name, _failure(ray, answer))
            finally:
                for answer in under_way:
                    with suppress(ray.exceptions.RayError):
                        ray.cancel(answer, force=True)


@contextmanager
def _running(workers: int) -> Iterator[Any]:
    """Ray, started or joined. A Ray that this process has joined already is used and left running."""
    own = not os.environ.get(ADDRESS)
    for name, value in (_QUIET | _ALONE if own else _QUIET).items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield ray
        return
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    settings["runtime_env"] = {"env_vars": _ONE_THREAD}
    if own:
        settings |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _OBJECTS}
    try:
        ray.init(address="local" if own else None, **settings)
    except (OSError, RuntimeError, ValueError) as error:
        where = "to start" if own else f"at {os.environ[ADDRESS]} to answer"
        raise WorkerError(f"expected Ray {where}, got {type(error).__name__}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _play(values: dict[str, Any], folder: str, cache: str | None) -> dict[str, Any] | None:
    """Play a timeline in a worker of Ray; return an error as values."""
    from simulator.study.executors.processes import play_alone

    timeline = Timeline.of(values)
    try:
        play_alone(timeline, Path(folder), None if cache is None else Path(cache))
    except Exception as error:  # noqa: BLE001  a third-party plug-in may raise anything; the study reports it
        return failure_values(error, f"timeline '{timeline.name}'")
    return None


def _failure(ray: Any, answer: Any) -> EbbdoorError | None:
    try:
        failed = ray.get(answer)
    except ray.exceptions.RayError as error:
        kind, why = type(error).__name__, str(error).partition("\n")[0]
        return WorkerError(f"expected a worker of Ray to play the timeline to its end, got {kind}: {why}")
    return None if failed is None else failure_of(failed)
