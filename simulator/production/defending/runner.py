"""Runs defenses in a worker process without credentials, which is replaced when lost."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from simulator.errors import WorkerError
from simulator.production.defending.job import Job
from simulator.production.defending.results import DefenseRun
from simulator.records import Outcome
from simulator.system.messages import ChannelClosed, ChannelTimeout
from simulator.system.worker import Worker, worker_environment

_TARGET = "simulator.production.defending.worker:methods"
#: seconds a new worker may take to start and import the defenses; a busy machine needs ten times the usual three
START_SECONDS = 120.0

_PREFIXES = ("MLFLOW_", "PREFECT_", "AWS_", "AZURE_", "GOOGLE_", "GCP_", "GCLOUD_")
_ENDINGS = ("TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIALS", "DSN", "AUTH_SOCK")
_DATABASE = re.compile(r"DATABASE|(^|_)(DB|SQL|POSTGRES|REDIS|MONGO)\w*_(URL|URI)$")
#: an address with a user name and a password in it
_ADDRESS_WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]*@")


@final
class InWorker:
    """Runs jobs in one worker process, started at the first job and again after it was lost.

    `seconds` limit one job, not the start. `uses` (name, options) are imported at the start. A defense's failure is an
    outcome, not an exception.
    """

    def __init__(self, uses: tuple[tuple[str, dict[str, Any]], ...], *, seconds: float, threads: int) -> None:
        self._uses = uses
        self._seconds = seconds
        self._threads = threads
        self._worker: Worker | None = None

    def run(self, job: Job, tensors: Mapping[str, Tensor]) -> DefenseRun:
        """Run the job; a worker that crashes, hangs or answers nonsense is killed."""
        try:
            worker = self._ready_worker()
        except (WorkerError, OSError) as error:
            return self._lost(job, f"its process did not start: {error}")
        arguments = {"job": job.model_dump(mode="json"), "threads": self._threads}
        # Clones, because tensors that share memory cannot travel together: window and trusted images may.
        parcel = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
        try:
            value, found = worker.call("run", arguments, parcel, timeout=self._seconds)
            return DefenseRun(Outcome.model_validate(value["outcome"]), found, value["again"])
        except ChannelTimeout:
            return self._lost(job, f"did not finish within {self._seconds:g} seconds; its process was ended")
        except ChannelClosed:
            return self._lost(job, "its process ended without an answer")
        except Exception as error:  # noqa: BLE001  a third-party defense may have written to the channel
            return self._lost(job, f"its process sent an answer that cannot be read ({type(error).__name__})")
        except BaseException:  # interrupted: the answer would be taken for that of the next job
            self._end()
            raise

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _ready_worker(self) -> Worker:
        if self._worker is None:
            self._worker = Worker(_TARGET, environment=stripped(os.environ, self._threads))
            self._worker.call("prepare", {"uses": self._uses}, timeout=START_SECONDS)
        return self._worker

    def _lost(self, job: Job, reason: str) -> DefenseRun:
        self._end()
        return job.failed(reason)

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


def stripped(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return `environment` without credentials and store addresses, with numerical threads pinned to `threads`.

    Left out: names of stores and clouds, names that end like a secret's, database addresses, and any value that holds
    a password in an address.
    """
    kept = {name: value for name, value in environment.items() if not _opens_a_store(name.upper(), value)}
    return worker_environment(kept, threads)


def _opens_a_store(name: str, value: str) -> bool:
    return (
        name.startswith(_PREFIXES)
        or name.endswith(_ENDINGS)
        or _DATABASE.search(name) is not None
        or _ADDRESS_WITH_PASSWORD.search(value) is not None
    )
