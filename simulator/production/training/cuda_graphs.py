"""CUDA graphs: a training step recorded once and replayed, so that the host launches one graph instead of many kernels.

A small network's kernels run shorter than it takes to launch them one by one. A recorded step is the same kernels on
the same memory: what changes from step to step is copied into it. On a CPU nothing is recorded.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar, final

import torch
from torch import Tensor

from simulator.production.training.job import Plan
from simulator.scenario.identity import third_party
from simulator.scenario.model import Phase, Recipe

#: fewest full steps of a training that is recorded: a recording costs the host about 10 to 20 plain steps (estimated)
LEAST = 50

#: steps done before the recording, in which libraries and optimizers allocate what they need at first use
_WARM = 3

Found = TypeVar("Found")


@final
class NotCapturable(Exception):
    """Says why a step cannot be recorded; the training then starts again without recording."""


class Recorder(ABC):
    """How the steps of one training are recorded."""

    @abstractmethod
    def warm(self, step: Callable[[], None]) -> None:
        """Do `step`, a step of the training, where later ones are recorded."""

    @abstractmethod
    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats `step` on the same memory; `step` is not executed. Raises `NotCapturable`."""


@final
class CudaGraphs(Recorder):
    """Records CUDA graphs on a separate stream, as torch requires."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def warm(self, step: Callable[[], None]) -> None:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            step()
        current.wait_stream(self._stream)

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        try:
            # Only this thread's calls could disturb the recording: other threads wait for the device or query it.
            recording = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
            with torch.cuda.device(self._device), recording:
                step()
        except Exception as error:
            reason = (str(error).strip() or "no reason given").splitlines()[0][:200]
            raise NotCapturable(f"{type(error).__name__}: {reason}") from error
        return graph.replay


def _cuda_graphs(device: torch.device) -> Recorder | None:
    return CudaGraphs(device) if device.type == "cuda" else None


#: gives the recorder for a device in this context; None: nothing is recorded
_RECORDER: ContextVar[Callable[[torch.device], Recorder | None]] = ContextVar("RECORDER", default=_cuda_graphs)


def no_recorder(device: torch.device) -> None:
    """Return None: nothing is recorded, every step is executed."""


@contextmanager
def recording_with(choose: Callable[[torch.device], Recorder | None]) -> Iterator[None]:
    """Let `choose` give the recorder for a device inside the block, in place of `CudaGraphs` on CUDA."""
    token = _RECORDER.set(choose)
    try:
        yield
    finally:
        _RECORDER.reset(token)


def recorder_for(device: torch.device, recipe: Recipe, phase: Phase, plan: Plan) -> Recorder | None:
    """Return the recorder for a training, or None where recording does not pay or could give other results.

    It pays from `LEAST` full steps on. It could give other results for a third-party network or optimizer, whose Python
    code may do something else at every step, and for float16, whose loss scaling depends on the gradients.
    """
    if recipe.precision == "float16" or phase.epochs * (plan.used // phase.batch) < LEAST:
        return None
    recorder = _RECORDER.get()(device)
    if recorder is None or third_party([("networks", recipe.network), ("optimizers", phase.optimizer)]):
        return None
    return recorder


def recorded_or_not(recorder: Recorder | None, train: Callable[[Recorder | None], Found]) -> Found:
    """Return `train(recorder)`; when its steps cannot be recorded, warn and return `train(None)`.

    `train` must leave its inputs and the random states as they are.
    """
    try:
        return train(recorder)
    except NotCapturable as error:
        reason = str(error)
    # Outside the block above: the exception keeps the memory of the first try alive.
    warnings.warn(f"expected the training's steps to be recordable, got {reason}; each is done by itself", stacklevel=2)
    return train(None)


def step_rates(rates: Iterable[float], device: torch.device, recorder: Recorder | None) -> Iterator[float | Tensor]:
    """Yield the learning rates as `Steps` needs them: numbers, or tensors on the device where steps are recorded."""
    if recorder is None:
        yield from rates
    else:  # torch's fused kernels read a rate on CUDA as float32
        yield from torch.tensor(
            tuple(rates), dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device
        )


def set_rate(optimizer: torch.optim.Optimizer, rate: float | Tensor) -> None:
    """Set the learning rate of the next step, and tell torch's optimizers whether they are being recorded."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if isinstance(rate, Tensor) and rate.is_cuda:
            group["capturable"] = torch.cuda.is_current_stream_capturing()


@final
class Steps:
    """Calls `step(rows, *others)` batch by batch; with a recorder, batches of `full` rows repeat one recorded step.

    `rows` is int64 (..., B). With a recorder the others are None or tensors of constant shape, everything else that
    `step` reads or writes must stay at its place in memory, and its results are what it writes. An argument that is the
    same object as in the step before is not copied again.
    """

    def __init__(self, step: Callable[..., None], full: int, recorder: Recorder | None) -> None:
        self._step = step
        self._full = full
        self._recorder = recorder
        self._cold = _WARM
        self._given: list[Tensor | None] = []
        self._buffers: list[Tensor | None] = []
        self._repeat: Callable[[], None] | None = None

    def __call__(self, rows: Tensor, *others: Tensor | float | None) -> None:
        if self._recorder is None or rows.shape[-1] != self._full:
            self._step(rows, *others)
        elif self._cold:
            self._cold -= 1
            self._recorder.warm(lambda: self._step(rows, *others))
        else:
            self._recorded(self._recorder, [rows, *(_tensor(value) for value in others)])

    def _recorded(self, recorder: Recorder, given: list[Tensor | None]) -> None:
        if self._repeat is None:
            self._buffers = [None if value is None else value.clone() for value in given]
            self._repeat = recorder.record(lambda: self._step(*self._buffers))
        else:
            for buffer, value, before in zip(self._buffers, given, self._given, strict=True):
                if buffer is not None and value is not None and value is not before:
                    buffer.copy_(value)
        self._given = given
        self._repeat()


def _tensor(value: Tensor | float | None) -> Tensor | None:
    assert value is None or isinstance(value, Tensor), "a recorded step reads numbers from the device"
    return value
