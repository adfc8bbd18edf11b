"""What a plug-in may do wrong to its process, to tensors and to a model, by name."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

THREADS: list[threading.Event] = []


def _thread() -> None:
    THREADS.append(threading.Event())

    def work(event: threading.Event = THREADS[-1]) -> None:
        event.wait(60)

    threading.Thread(target=work, daemon=True, name="left").start()


def _raise(error: BaseException) -> None:
    raise error


KEPT: list[Any] = []


def _entered(context: Any) -> Any:
    context.__enter__()
    return context


def _daemon(thread: threading.Thread) -> None:
    thread.daemon = True
    thread.start()


def _pool() -> None:
    ThreadPoolExecutor(1).submit(time.sleep, 2)


def _program() -> None:
    KEPT.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))


class Silent(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


#: what a plug-in may do to the process -> how; the run is refused
REFUSED: dict[str, Callable[[], Any]] = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "thread count": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "gradient mode": lambda: torch.set_grad_enabled(not torch.is_grad_enabled()),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
    "tiny numbers": lambda: torch.set_flush_denormal(True),
    "hook on all": lambda: nn.modules.module.register_module_forward_hook(lambda module, given, found: found * 2),
    "numpy errors": lambda: np.seterr(all="raise"),
    "folder": lambda: os.chdir("/"),
    "stream": lambda: setattr(sys, "stdout", io.StringIO()),
    "handler": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "recursion": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "thread": _thread,
    "timer thread": lambda: _daemon(threading.Timer(60, int)),
    "pool": _pool,
    "program": _program,
    "timer of work": lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 1000),
    "casts": lambda: torch.autocast("cpu", dtype=torch.bfloat16).__enter__(),
    "inference": lambda: KEPT.append(_entered(torch.inference_mode())),
    "patched function": lambda: setattr(functional, "cross_entropy", functional.nll_loss),
    "patched class": lambda: setattr(nn.Linear, "forward", lambda self, given: given),
    "exits": lambda: sys.exit(0),
    "raises": lambda: _raise(RuntimeError("no luck today")),
    "raises oddly": lambda: _raise(KeyError("\udcff" * 2000 + "\n" * 50)),
    "raises silently": lambda: _raise(Silent()),
    "memory": lambda: _raise(MemoryError()),
}

#: what it may do that is put back without a word
CONTAINED: dict[str, Callable[[], Any]] = {
    "random": lambda: (torch.manual_seed(7), np.random.seed(7), random.seed(7), torch.rand(3), random.random()),
    "environment": lambda: os.environ.update(OMP_NUM_THREADS="7", EBBDOOR_WORKSPACE="/nowhere"),
    "import path": lambda: sys.path.insert(0, "/nowhere"),
    "filters": lambda: warnings.simplefilter("error"),
    "forks": os.fork,
    "slow": lambda: time.sleep(0.02),
}


def _numpy(tensors: list[Tensor]) -> None:
    tensors[0].numpy()[...] += 0.5


#: what it may do to the tensors that it is shown
IN_PLACE: dict[str, Callable[[list[Tensor]], Any]] = {
    "in place": lambda tensors: tensors[0].mul_(0.5),
    "through a view": lambda tensors: tensors[0].flatten()[:1].add_(0.5),
    "through data": lambda tensors: tensors[0].data.add_(0.5),
    "through numpy": _numpy,
    "resized": lambda tensors: tensors[0].requires_grad_(True),
}

#: what it may do to a model
TO_MODEL: dict[str, Callable[[nn.Module], Any]] = {
    "train mode": lambda model: model.train(),
    "hook": lambda model: model.register_forward_hook(lambda module, given, found: found * 2),
    "weights": lambda model: next(model.parameters()).data.add_(0.1),
    "buffers": lambda model: next(model.buffers()).add_(0.1),
    "frozen": lambda model: next(model.parameters()).requires_grad_(False),
    "state hook": lambda model: model.register_state_dict_pre_hook(lambda *given: None),
    "forward": lambda model: setattr(model, "forward", lambda images: images),
}


def slipped(name: str, tensors: Iterable[Tensor] = (), model: nn.Module | None = None) -> None:
    """Do what `name` says; nothing where it is the name of a wrong answer."""
    call = {**REFUSED, **CONTAINED}.get(name)
    if call is not None:
        call()
    elif name in IN_PLACE:
        with torch.no_grad():
            IN_PLACE[name](list(tensors))
    elif name in TO_MODEL and model is not None:
        with torch.no_grad():
            TO_MODEL[name](model)
