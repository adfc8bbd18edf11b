"""The processes in which models are asked, those of a defense's call: no network of a stranger's runs elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from torch import Tensor

from defenses.base import Rows
from simulator.errors import ScenarioError
from simulator.production.auditing.measured import MEASURED
from simulator.production.auditing.subject import Model
from simulator.production.defending.job import WEIGHT, Job
from simulator.production.defending.results import DefenseRun
from simulator.production.defending.runner import InProcesses, Limits


@final
class Asking:
    """Runs jobs about models, each in a process of its own with these `limits`; `uses` are the defenses of jobs.

    Close it.
    """

    def __init__(self, uses: Sequence[str], limits: Limits) -> None:
        self._uses = (*uses, MEASURED)
        self._limits = limits
        self._folders: tuple[Path, ...] = ()
        self._processes: InProcesses | None = None

    def close(self) -> None:
        """End the processes."""
        if self._processes is not None:
            self._processes.close()
            self._processes = None

    def run(self, job: Job, model: Model, tensors: Mapping[str, Tensor]) -> DefenseRun:
        """Run a job about `model`, with the modules that it brings."""
        return self._of(model.folders).run(job, tensors)

    def weights(self, architecture: Mapping[str, Any], folders: tuple[Path, ...], size: int) -> dict[str, Tensor]:
        """Return the weights of a network as it is made, about `size` bytes; `PluginError` where it cannot be."""
        return self._of(folders).weights(architecture, size)

    def measure(self, model: Model, weights: Mapping[str, Tensor], trusted: Rows) -> DefenseRun:
        """Ask `Measured` about the model with these weights."""
        job = Job(
            name="accuracy",
            use=MEASURED,
            options={},
            surface="inspector",
            subject="candidate",
            architecture=model.architecture.model_dump(mode="json"),
            device="cpu",
            period=model.place.period,
            seed=0,
        )
        return self.run(job, model, tensors_of(weights, trusted))

    def accuracy(self, model: Model, trusted: Rows) -> float | None:
        """Return the share of trusted images that the model gets right, None without any.

        Raises `ScenarioError` where it cannot be asked: its network cannot be made, or its weights do not fit.
        """
        run = self.measure(model, model.weights, trusted)
        if run.outcome.status == "passed":
            if not model.folders and self._processes is not None:  # a pickle's network has a folder, and stays a fork's
                self._processes.make_ready(model.architecture.model_dump(mode="json"))
            return accuracy_in(run)
        raise ScenarioError(f"expected {model.name} to be a model that can be asked, got that it {run.outcome.reason}")

    def _of(self, folders: tuple[Path, ...]) -> InProcesses:
        """Return processes that may import from `folders`, and from those of no other model."""
        if self._processes is None or folders != self._folders:
            self.close()
            self._processes = InProcesses(self._uses, self._limits, threads=1, folders=folders)
            self._folders = folders
        return self._processes


def accuracy_in(run: DefenseRun) -> float | None:
    """Return what `Measured` has found."""
    found: float | None = run.outcome.evidence.get("accuracy")
    return found


def tensors_of(weights: Mapping[str, Tensor], trusted: Rows) -> dict[str, Tensor]:
    """Return weights and trusted images as the tensors of a job."""
    given = {WEIGHT + name: value for name, value in weights.items()}
    return given | {"trusted.images": trusted.images, "trusted.labels": trusted.labels}
