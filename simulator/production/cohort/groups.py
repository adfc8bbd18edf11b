"""Jobs sorted into stacks: jobs of one shape are trained together, others alone, and equal jobs only once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch

from simulator.errors import text_of
from simulator.guard.call import ending
from simulator.production.cohort.operations import NotStackable
from simulator.production.cohort.together import fit_together
from simulator.production.training.cached import job_key
from simulator.production.training.job import Job, Trained
from simulator.production.update import fitted
from simulator.records import digest_of

#: members of a stack on a CPU: stacks of two, four and eight take as long as single trainings (docs/performance.md)
_ON_CPU = 1


def stack_limit(device: torch.device) -> int | None:
    """Return the default for the most members of a stack on `device`; None: as many as its memory holds."""
    return _ON_CPU if device.type == "cpu" else None


@final
class Groups:
    """Trains jobs in stacks of at most `limit` members (None: `stack_limit`); `tell` gets why one is trained alone."""

    def __init__(self, limit: int | None = None, tell: Callable[[str], None] = lambda sentence: None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"expected limit to be at least 1 member a stack, got {limit}; raise it or leave it out")
        self._limit = limit
        self._tell = tell

    def __call__(self, jobs: Sequence[Job]) -> list[Trained | Exception]:
        """Return what each job gave, in order: its result, or the error it raised when trained alone."""
        keys = [_key(job) for job in jobs]
        once = dict(zip(keys, jobs, strict=True))
        stacks: dict[str, list[str]] = {}
        for key, job in once.items():
            stacks.setdefault(signature(job), []).append(key)
        found: dict[str, Trained | Exception] = {}
        for members in stacks.values():
            for part in self._parts(members, once[members[0]].rows.images.device):
                found.update(zip(part, self._stack([once[key] for key in part]), strict=True))
        return [_copied(found[key]) for key in keys]

    def _parts(self, members: list[str], device: torch.device) -> list[list[str]]:
        size = self._limit or stack_limit(device) or len(members)
        return [members[at : at + size] for at in range(0, len(members), size)]

    def _stack(self, jobs: Sequence[Job]) -> Sequence[Trained | Exception]:
        if len(jobs) == 1:
            return [_alone(jobs[0])]
        try:
            return fit_together(jobs)
        except torch.OutOfMemoryError:
            self._tell(f"a stack of {len(jobs)} does not fit into the device's memory: halved")
        except (Exception, SystemExit) as error:  # noqa: BLE001  trained alone, a job that is at fault raises again
            reason = str(error) if isinstance(error, NotStackable) else f"{type(error).__name__}: {text_of(error)}"
            network = jobs[0].recipe.network.use
            self._tell(f"network '{network}' is trained alone, not in a cohort: {reason}")
            return [_alone(job) for job in jobs]
        # Outside the block above: the exception keeps the memory of the whole stack alive.
        half = len(jobs) // 2
        return [*self._stack(jobs[:half]), *self._stack(jobs[half:])]


def signature(job: Job) -> str:
    """Return a digest that is the same for jobs that can be stacked: all but weights, data, seeds and learning rates.

    Network and its options, shapes of weights and images, device, rows, epochs, batch size, optimizer with its options,
    augmentation, precision, and what an update leaves alone.
    """
    recipe, phase = job.recipe, job.phase
    return digest_of(
        {
            "network": recipe.network.model_dump(mode="json"),
            "weights": [[name, list(value.shape), str(value.dtype)] for name, value in job.start.state_dict().items()],
            "images": [list(job.rows.images.shape), str(job.rows.images.dtype), str(job.rows.images.device)],
            "phase": phase.model_dump(mode="json", include={"epochs", "batch", "optimizer"}),
            "recipe": recipe.model_dump(mode="json", include={"augmentation", "precision"}),
            "not_trained": recipe.model_dump(mode="json", include={"frozen", "batchnorm"}) if job.update else None,
        }
    )


def _key(job: Job) -> str:
    """Return a digest that equal trainings share. The network's options count: weights alone do not show them."""
    return digest_of(job_key(job) | {"network": job.recipe.network.model_dump(mode="json")})


def _alone(job: Job) -> Trained | Exception:
    try:
        return fitted(job)
    except Exception as error:  # noqa: BLE001  raised where the job was handed in
        return error
    except SystemExit as error:
        return ending(f"network '{job.recipe.network.use}'", error)


def _copied(result: Trained | Exception) -> Trained | Exception:
    """Return a result with its own copy of the model, as equal jobs were trained once."""
    return replace(result, model=copy.deepcopy(result.model)) if isinstance(result, Trained) else result
