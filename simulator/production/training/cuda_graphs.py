"""Steps of a training recorded once and repeated: on CUDA, a whole step costs the host one start instead of hundreds.

The kernels of a small network are shorter than what it takes to start them one by one. A recorded step is the same
kernels on the same memory: what changes from step to step is copied into it. Nothing of this happens on a CPU.
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

from simulator.cache.key import third_party
from simulator.production.training.job import Plan
from simulator.scenario.model import Phase, Recipe

__all__ = [
    "LEAST",
    "CudaGraphs",
    "NotCapturable",
    "Recorder",
    "Steps",
    "captured_or_not",
    "nobody",
    "recorded_by",
    "recorder_for",
    "set_rate",
    "step_rates",
]

#: full steps from which on a training is recorded: a recording costs the host some 10 to 20 plain steps (estimated)
LEAST = 50

#: true steps before the recording, in which libraries and optimizers make what they make at first use
_WARM = 3

Found = TypeVar("Found")


@final
class NotCapturable(Exception):
    """A step that cannot be recorded, and why; the training has to begin anew without."""


class Recorder(ABC):
    """How the steps of one training are recorded."""

    @abstractmethod
    def warm(self, step: Callable[[], None]) -> None:
        """Do `step`, one of the training, where it is to be recorded."""

    @abstractmethod
    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        """Return what does `step` again on the same memory; `step` itself is not done. Raises `NotCapturable`."""


@final
class CudaGraphs(Recorder):
    """Records CUDA graphs, on a stream of its own, as torch asks."""

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
            # Only this thread's calls may not disturb the recording: others wait or read what the device is doing.
            recording = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
            with torch.cuda.device(self._device), recording:
                step()
        except Exception as error:
            raise NotCapturable(f"{type(error).__name__}: {_first_line(error)}") from error
        return graph.replay


def _cuda_graphs(device: torch.device) -> Recorder | None:
    return CudaGraphs(device) if device.type == "cuda" else None


#: who records trainings on a device in this context
_RECORDER: ContextVar[Callable[[torch.device], Recorder | None]] = ContextVar("RECORDER", default=_cuda_graphs)


def nobody(device: torch.device) -> None:
    """Record nothing: every step is done by itself."""


@contextmanager
def recorded_by(choose: Callable[[torch.device], Recorder | None]) -> Iterator[None]:
    """Let `choose` say inside the block who records a training on a device, in place of `CudaGraphs` on CUDA."""
    token = _RECORDER.set(choose)
    try:
        yield
    finally:
        _RECORDER.reset(token)


def recorder_for(device: torch.device, recipe: Recipe, phase: Phase, plan: Plan) -> Recorder | None:
    """Return who records a training of ours; None where that does not pay or could be wrong.

    It pays from `LEAST` full steps on. It could be wrong for a stranger's network or optimizer, whose Python may do
    something else at every step, and for float16, whose loss scaling depends on what it finds.
    """
    if recipe.precision == "float16" or phase.epochs * (plan.used // phase.batch) < LEAST:
        return None
    recorder = _RECORDER.get()(device)
    if recorder is None or third_party([("networks", recipe.network), ("optimizers", phase.optimizer)]):
        return None
    return recorder


def captured_or_not(recorder: Recorder | None, train: Callable[[Recorder | None], Found]) -> Found:
    """Return `train(recorder)`; where nothing can be recorded, warn and begin anew: `train(None)`.

    `train` must leave what it is given as it is, random states included.
    """
    try:
        return train(recorder)
    except NotCapturable as error:
        reason = str(error)
    # Outside the block above: what was raised there holds the memory of the first try.
    warnings.warn(f"expected the training's steps to be recordable, got {reason}; each is done by itself", stacklevel=2)
    return train(None)


def step_rates(rates: Iterable[float], device: torch.device, recorder: Recorder | None) -> Iterator[float | Tensor]:
    """Yield the learning rates as `Steps` needs them: as they are, or on the device where steps are recorded."""
    if recorder is None:
        yield from rates
    else:  # torch's fused kernels read a rate on CUDA as float32
        yield from torch.tensor(
            tuple(rates), dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device
        )


def set_rate(optimizer: torch.optim.Optimizer, rate: float | Tensor) -> None:
    """Set the learning rate of the next step; torch's optimizers ask to be told that they are being recorded."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if isinstance(rate, Tensor) and rate.is_cuda:
            group["capturable"] = torch.cuda.is_current_stream_capturing()


@final
class Steps:
    """Does `step(rows, *others)` batch by batch; with a recorder, those of `full` rows by repeating one.

    `rows` is int64 (..., B). With a recorder the others are tensors that keep their shapes, or None, and whatever else
    `step` reads or writes stays where it is: it gives no result but what it writes. What of the others is still the
    very tensor of the step before is not copied again.
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


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no reason told").splitlines()[0][:200]
