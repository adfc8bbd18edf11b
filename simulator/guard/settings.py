"""Settings of this process that somebody else's code can leave changed: read, compared, put back.

`SETTINGS` are those that could change other numbers, or what a run does, without a word. Random states, the
environment, the import path and warnings' filters are put back as well: to use those is no mistake.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch.nn.modules import module as module_hooks

from simulator.guard import patches

_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGUSR1", "SIGUSR2", "SIGPIPE")
    if hasattr(signal, name)
)
_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


_AUTOCAST = ("cpu", "cuda")
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_ENTERED: list[Any] = []


def _flushes() -> bool:
    """Whether the CPU takes the smallest numbers for 0, which torch sets but does not tell."""
    return bool((torch.tensor([1e-40], dtype=torch.float32, device="cpu") * 0.5).item() == 0)


def _hooks() -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(getattr(module_hooks, name).items()) for name in _HOOKS)


def _put_hooks(before: tuple[tuple[Any, ...], ...]) -> None:
    for name, items in zip(_HOOKS, before, strict=True):
        hooks = getattr(module_hooks, name)
        hooks.clear()
        hooks.update(items)


def _autocast() -> tuple[Any, ...]:
    states = [(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in _AUTOCAST]
    return (*states, torch.is_autocast_cache_enabled())


def _put_autocast(before: tuple[Any, ...]) -> None:
    for kind, (enabled, dtype) in zip(_AUTOCAST, before, strict=False):
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)
    torch.set_autocast_cache_enabled(before[-1])
    torch.clear_autocast_cache()


def _put_inference(before: bool) -> None:
    mode = torch.inference_mode(before)
    mode.__enter__()
    _ENTERED.append(mode)  # it would end with the object


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _cudnn() -> tuple[bool, bool, bool]:
    backend = torch.backends.cudnn
    return backend.enabled, backend.benchmark, backend.deterministic


def _put_cudnn(before: tuple[bool, bool, bool]) -> None:
    backend: Any = torch.backends.cudnn
    backend.enabled, backend.benchmark, backend.deterministic = before


def _handlers() -> tuple[Any, ...]:
    return tuple(signal.getsignal(number) for number in _SIGNALS)


def _put_handlers(before: tuple[Any, ...]) -> None:
    if threading.current_thread() is threading.main_thread():  # no other thread can have changed them
        for number, handler in zip(_SIGNALS, before, strict=True):
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _timers() -> tuple[bool, ...]:
    return tuple(signal.getitimer(timer)[0] > 0 for timer in _TIMERS)


def _end_timers(before: tuple[bool, ...]) -> None:
    for timer, runs in zip(_TIMERS, before, strict=True):
        if not runs:
            signal.setitimer(timer, 0)


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted
        return ""


def _streams() -> tuple[Any, Any, Any]:
    return sys.stdin, sys.stdout, sys.stderr


def _put_streams(before: tuple[Any, Any, Any]) -> None:
    sys.stdin, sys.stdout, sys.stderr = before


def _put_device(before: torch.device) -> None:
    torch.set_default_device(None if before == torch.device("cpu") else before)


#: name -> (read it, put it back)
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch's default number type": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, _put_device),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's inference mode": (torch.is_inference_mode_enabled, _put_inference),  # it sets the gradient mode, too
    "torch's gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's automatic casts": (_autocast, _put_autocast),
    "torch's functions": (patches.read, patches.put_back),
    "torch's deterministic mode": (_deterministic, lambda b: torch.use_deterministic_algorithms(b[0], warn_only=b[1])),
    "torch's precision of products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "torch's rounding of tiny numbers": (_flushes, torch.set_flush_denormal),
    "torch's anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch's hooks on all modules": (_hooks, _put_hooks),
    "cuDNN's settings": (_cudnn, _put_cudnn),
    "NumPy's handling of errors": (lambda: tuple(np.geterr().items()), lambda before: np.seterr(**dict(before))),
    "the working directory": (_folder, lambda before: os.chdir(before) if before else None),
    "a signal's handler": (_handlers, _put_handlers),
    "a timer": (_timers, _end_timers),
    "the standard streams": (_streams, _put_streams),
    "the recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "garbage collection": (gc.isenabled, lambda before: gc.enable() if before else gc.disable()),
    "the time limit of sockets": (socket.getdefaulttimeout, socket.setdefaulttimeout),
}


def read_settings() -> dict[str, Any]:
    """Return every setting's value now."""
    return {name: read() for name, (read, _) in SETTINGS.items()}


def put_back(before: dict[str, Any]) -> list[str]:
    """Put back every setting that differs from `before`, and return their names."""
    found = [name for name, (read, _) in SETTINGS.items() if read() != before[name]]
    for name in found:
        SETTINGS[name][1](before[name])
    return found


@final
@dataclass(frozen=True, slots=True)
class Beside:
    """What a call may use and that is put back without a word: random states, environment, paths, filters."""

    torch_states: tuple[Any, ...]
    numpy_state: Any
    random_state: Any
    environment: dict[str, str]
    paths: list[str]
    filters: list[Any]

    @staticmethod
    def taken() -> Beside:
        states = (torch.default_generator.get_state(), *_cuda_states())
        legacy: Any = np.random.get_state()
        filters: list[Any] = list(warnings.filters)
        return Beside(states, legacy, random.getstate(), dict(os.environ), list(sys.path), filters)

    def put_back(self, *, only_random: bool = False) -> None:
        torch.default_generator.set_state(self.torch_states[0])
        for generator, state in zip(torch.cuda.default_generators, self.torch_states[1:], strict=False):
            generator.set_state(state)
        np.random.set_state(self.numpy_state)
        random.setstate(self.random_state)
        if only_random:
            return
        if dict(os.environ) != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
        if sys.path != self.paths:
            sys.path[:] = self.paths
        if list(warnings.filters) != self.filters:
            warnings.resetwarnings()
            warnings.filters[:] = self.filters  # type: ignore[index]


def _cuda_states() -> tuple[Any, ...]:
    if not torch.cuda.is_initialized():
        return ()
    return tuple(generator.get_state() for generator in torch.cuda.default_generators)


def seed_all(seed: int) -> None:
    """Seed the global generators, so that code that draws from them does so alike in every run."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        for generator in torch.cuda.default_generators:
            generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
