"""Jobs sorted into stacks: what can be trained together is, what cannot is trained alone, what is equal once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch

from simulator.production.cohort.operations import NotStackable
from simulator.production.cohort.signature import signature
from simulator.production.cohort.together import fit_together
from simulator.production.training.cached import job_key
from simulator.production.training.job import Job, Trained
from simulator.production.update import fitted
from simulator.records import digest_of

__all__ = ["Groups", "stack_limit"]

#: on a CPU stacks of two, four and eight take no less time than single trainings: docs/performance.md
_ON_CPU = 1


def stack_limit(device: torch.device) -> int | None:
    """Return how many members a stack on `device` has at most by default; None: as many as its memory holds."""
    return _ON_CPU if device.type == "cpu" else None


@final
class Groups:
    """Trains jobs in stacks of at most `limit` members (None: `stack_limit`); `tell` hears why one is trained alone."""

    def __init__(self, limit: int | None = None, tell: Callable[[str], None] = lambda sentence: None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"expected limit to be at least 1 member a stack, got {limit}; raise it or leave it out")
        self._limit = limit
        self._tell = tell

    def __call__(self, jobs: Sequence[Job]) -> list[Trained | Exception]:
        """Return what each job gave, in order: its result, or the error that it alone met."""
        keys = [_key(job) for job in jobs]
        once = dict(zip(keys, jobs, strict=True))
        stacks: dict[str, list[str]] = {}
        for key, job in once.items():
            stacks.setdefault(signature(job), []).append(key)
        found: dict[str, Trained | Exception] = {}
        for members in stacks.values():
            for part in self._parts(members, once[members[0]].rows.images.device):
                found.update(zip(part, self._stack([once[key] for key in part]), strict=True))
        return [_own(found[key]) for key in keys]

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
        except Exception as error:  # noqa: BLE001  what fails only side by side is trained alone, what fails alone says so
            reason = str(error) if isinstance(error, NotStackable) else f"{type(error).__name__}: {error}"
            network = jobs[0].recipe.network.use
            self._tell(f"network '{network}' is trained alone, not in a cohort: {reason}")
            return [_alone(job) for job in jobs]
        # Outside the block above: what was raised there holds all that the whole stack had allocated.
        half = len(jobs) // 2
        return [*self._stack(jobs[:half]), *self._stack(jobs[half:])]


def _key(job: Job) -> str:
    """What is equal for equal trainings. Weights do not tell networks apart whose options differ."""
    return digest_of(job_key(job) | {"network": job.recipe.network.model_dump(mode="json")})


def _alone(job: Job) -> Trained | Exception:
    try:
        return fitted(job)
    except Exception as error:  # noqa: BLE001  it is raised where the job was handed in
        return error


def _own(result: Trained | Exception) -> Trained | Exception:
    """A result of one's own: equal jobs were done once."""
    return replace(result, model=copy.deepcopy(result.model)) if isinstance(result, Trained) else result
