"""Asks defenses in processes of their own, without credentials; a process that was killed is asked again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from torch import Tensor

from defenses.base import Size
from simulator.errors import EbbdoorError, PluginError, WorkerError
from simulator.production.defending.answers import (
    SLOW,
    confinement_of,
    imported_of,
    read_answer,
    read_facts,
    read_weights,
)
from simulator.production.defending.environment import stripped
from simulator.production.defending.facts import DefenseFacts, module_of, modules_of_ours
from simulator.production.defending.host import SCRATCH
from simulator.production.defending.job import Job
from simulator.production.defending.results import DefenseRun
from simulator.production.defending.texts import short
from simulator.scenario import catalog
from simulator.system.descendants import end_marked
from simulator.system.messages import ChannelClosed, ChannelTimeout
from simulator.system.worker import Worker
from simulator.system.workspace import FOLDER, default_workspace

_HOST: Final = "simulator.production.defending.host"
#: name of the environment variable that marks what was started for a host
_MARK: Final = "EBBDOOR_DEFENSE_HOST"
#: seconds a host may take to start and import torch; a busy machine needs ten times the usual three
START_SECONDS: Final = 120.0
#: how often a call is asked whose process is killed by a signal: the system may have done so when memory ran out
ATTEMPTS: Final = 3
#: seconds that a host may take beyond a call's own limit to end it
_GRACE: Final = 30.0
#: what a folder may hold that is no defense's business, beside the workspace
_STORES: Final = (FOLDER, "mlruns", "mlflow.db")


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use: `seconds`, `memory` in megabytes of its own; `confined`: where the system can do that."""

    seconds: float
    memory: int = 8192
    confined: bool = True


@final
class InProcesses:
    """Runs each job in a process of its own, forked from one host that is started at the first job and when lost.

    What is ours among the defenses `uses` and in `architecture` is made ready in the host. A defense's failure is an
    outcome, not an exception. The processes of calls, and no others, may also import from `folders`.
    """

    def __init__(
        self,
        uses: Sequence[str],
        limits: Limits,
        *,
        threads: int,
        architecture: Mapping[str, Any] | None = None,
        folders: Sequence[Path] = (),
    ) -> None:
        ours = architecture is not None and _is_ours(architecture)
        self._prepare: dict[str, Any] = {
            "modules": modules_of_ours(uses),
            "architecture": dict(architecture or {}) if ours else None,
        }
        self._limits = limits
        self._threads = threads
        self._folders = [str(folder) for folder in folders]
        self._host: Worker | None = None
        self._mark = self._scratch = ""
        #: defense -> what was noted about its calls: how they were confined, and how often they were asked again
        self.notes: dict[str, dict[str, Any]] = {}

    def run(self, job: Job, tensors: Mapping[str, Tensor], *, patience: float = 1.0) -> DefenseRun:
        """Run the job; it may take `patience` times the time limit."""
        # Clones, because tensors that share memory cannot travel together: window and trusted images may.
        parcel = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
        seconds = self._limits.seconds * patience
        arguments = {"job": job.model_dump(mode="json"), "module": module_of(job.use)}
        found = self._ask("run", arguments, parcel, seconds, job.name)
        match found["end"]:
            case "answered":
                self._note(job.name, found["text"])
                self._import_too(found["text"])
                return read_answer(job, found["text"], found["tensors"], tensors)
            case "late":
                return job.timed_out(f"did not finish within {seconds:g} seconds; its process was ended")
            case "memory" | "size":
                return job.timed_out(self._said(found))
        return job.failed(self._said(found))

    def facts(self, use: str, options: Mapping[str, Any], size: Size | None = None) -> DefenseFacts:
        """Return what a process that has constructed the defense says of it, or raise `PluginError`."""
        measured = None if size is None else [size.classes, size.trusted, size.rows]
        arguments = {"use": use, "options": dict(options), "module": module_of(use), "size": measured}
        found = self._ask("facts", arguments, {}, max(START_SECONDS, self._limits.seconds), use)
        if found["end"] == "answered":
            return read_facts(use, found["text"])
        said = self._said_of_start(found)
        raise PluginError(f"defense '{use}': expected its import and constructor to work, got that {said}; correct it")

    def weights(self, architecture: Mapping[str, Any], expected: int) -> dict[str, Tensor]:
        """Return the weights of a network as it is made, about `expected` bytes, or raise `PluginError`."""
        arguments = {"architecture": dict(architecture), "module": "simulator", "expected": expected}
        found = self._ask("weights", arguments, {}, max(START_SECONDS, self._limits.seconds), "weights")
        if found["end"] != "answered":
            raise PluginError(
                f"expected a process that makes the network to answer, got that {self._said_of_start(found)}"
            )
        read_weights(found["text"])
        return dict(found["tensors"])

    def make_ready(self, architecture: Mapping[str, Any]) -> None:
        """Have the host make a network of ours ready for calls: one of which it is known that it can be made."""
        if _is_ours(architecture) and self._prepare["architecture"] != architecture:
            self._prepare["architecture"] = dict(architecture)
            self._prepare_too({"modules": [], "architecture": dict(architecture)})

    def close(self) -> None:
        """End the host and whatever it has started."""
        if self._host is not None:
            self._host.close()
            self._end()

    def _ask(
        self, method: str, arguments: dict[str, Any], tensors: Mapping[str, Tensor], seconds: float, name: str
    ) -> dict[str, Any]:
        """Return what became of a call, with its answer; one whose process was killed from outside is asked again.

        Raise `WorkerError` when no process can be started: that says nothing of the defense.
        """
        limits = {
            "seconds": seconds,
            "memory": self._limits.memory * 2**20,
            "threads": self._threads,
            "confine": self._limits.confined,
            "hidden": _hidden(),
            "folders": self._folders,
        }
        found: dict[str, Any] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                noted = self.notes.setdefault(name, {})
                noted["asked_again"] = noted.get("asked_again", 0) + 1
            found = self._once(method, arguments | limits, tensors, seconds + _GRACE)
            if found["end"] not in ("signal", "lost", "unready"):
                break
        if found["end"] == "unready":
            raise WorkerError(
                f"defense '{name}': expected a process for it to start, got {short(found['text'])}; "
                "make room for it (memory, processes, the folder of temporary files), and resume the run"
            )
        return found

    def _once(
        self, method: str, arguments: dict[str, Any], tensors: Mapping[str, Tensor], timeout: float
    ) -> dict[str, Any]:
        try:
            host = self._ready()
        except (EbbdoorError, OSError) as error:
            self._end()
            return {"end": "unready", "text": str(error)}
        except BaseException:
            self._end()
            raise
        try:
            value, found = host.call(method, arguments, tensors, timeout=timeout)
        except (ChannelClosed, ChannelTimeout) as error:
            self._end()
            return {"end": "lost", "text": str(error)}
        except (EbbdoorError, OSError) as error:
            self._end()
            return {"end": "unready", "text": str(error)}
        except Exception as error:  # noqa: BLE001  tensors of an answer that cannot be read
            self._end()
            return {"end": "unreadable", "text": type(error).__name__}
        except BaseException:  # interrupted: the answer would be taken for that of the next job
            self._end()
            raise
        return {**value, "tensors": found}

    def _ready(self) -> Worker:
        if self._host is None:
            self._mark = secrets.token_hex(16)
            self._scratch = tempfile.mkdtemp(prefix=SCRATCH)
            environment = stripped(os.environ, self._threads) | {_MARK: self._mark, "TMPDIR": self._scratch}
            self._host = Worker("-", environment=environment, program=_HOST, apart=True)
            self._host.call("prepare", self._prepare, timeout=START_SECONDS)
        return self._host

    def _said(self, found: Mapping[str, Any]) -> str:
        match found["end"]:
            case "memory":
                return f"its process used more than {self._limits.memory} MB of memory and was ended"
            case "size" | "surplus":
                return "its process sent more than it may; it was ended"
            case "signal":
                return f"its process was ended by {_signal(found['detail'])}, {ATTEMPTS} times"
            case "lost":
                return f"its process was lost {ATTEMPTS} times"
            case "unreadable":
                return f"its process sent an answer that cannot be read ({found['text']})"
        return "its process ended without an answer"

    def _said_of_start(self, found: Mapping[str, Any]) -> str:
        late = found["end"] == "late"
        return f"did not end within {START_SECONDS:g} seconds" if late else self._said(found)

    def _note(self, name: str, text: str) -> None:
        confined = confinement_of(text)
        if confined:
            self.notes.setdefault(name, {})["confined"] = confined

    def _import_too(self, text: str) -> None:
        """Let the host import what a call had to import itself, so that no later call has to."""
        missing = [name for name in imported_of(text, SLOW) if name not in self._prepare["modules"]]
        if missing:
            self._prepare["modules"] += missing
            self._prepare_too({"modules": missing, "architecture": None})

    def _prepare_too(self, more: Mapping[str, Any]) -> None:
        """Let the host that runs, if any, make more ready; one that is started later makes all of it ready."""
        if self._host is not None:
            try:
                self._host.call("prepare", more, timeout=START_SECONDS)
            except (EbbdoorError, OSError):
                self._end()  # the next call starts another

    def _end(self) -> None:
        if self._host is not None:
            self._host.kill()
            self._host = None
            end_marked(_MARK, self._mark)
        if self._scratch:  # also when no process came to use it
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = ""


def _is_ours(architecture: Mapping[str, Any]) -> bool:
    return not catalog.is_third_party("networks", architecture["network"]["use"])


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _hidden() -> list[str]:
    return [str(default_workspace()), *map(os.path.abspath, _STORES)]
