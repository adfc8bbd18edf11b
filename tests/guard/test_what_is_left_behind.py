"""What a plug-in leaves changed or at work, beside tensors: refused by name, and put back."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from simulator.errors import PluginError
from simulator.guard.call import Plugin, contained, guarded
from simulator.guard.settings import read_settings
from tests.guard.slips import REFUSED

PLUGIN = Plugin("monitor 'theirs'", foreign=True)


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        ("timer of work", "to leave the process as it is, got a change of a timer"),
        ("casts", "got a change of torch's automatic casts"),
        ("inference", "got a change of torch's inference mode, torch's gradient mode"),
        ("patched function", "got a change of torch's functions"),
        ("patched class", "got a change of torch's functions"),
    ],
)
def test_a_setting_is_refused_and_put_back(slip: str, told: str) -> None:
    before = read_settings()
    with pytest.raises(PluginError, match=told), contained(PLUGIN):
        REFUSED[slip]()
    assert read_settings() == before


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        ("timer thread", "to have ended its threads and processes, got thread Thread-.* at work"),
        ("pool", "got thread ThreadPoolExecutor.* at work; let it wait for their ends"),
    ],
)
def test_a_thread_of_the_standard_librarys_is_refused(slip: str, told: str) -> None:
    with pytest.raises(PluginError, match=told), contained(PLUGIN):
        REFUSED[slip]()


def test_a_program_that_runs_on_is_refused_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.guard.started._PATIENCE", 0.2)
    started: list[subprocess.Popen[bytes]] = []
    with pytest.raises(PluginError, match=r"got process [0-9]+ at work"), contained(PLUGIN):
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
    assert started[0].wait(10) == -9


def test_what_is_waited_for_is_no_fault() -> None:
    with contained(PLUGIN):
        subprocess.run([sys.executable, "-c", ""], check=True)
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(abs, [-1, -2])) == [1, 2]
        timer = threading.Timer(0.01, time.monotonic)
        timer.start()
        timer.join()


def test_what_was_at_work_before_is_none_of_its_business() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, daemon=True)
    thread.start()
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with contained(PLUGIN):
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert psutil.Process(program.pid).is_running()
    assert thread.is_alive()
    end.set()
    program.kill()
    program.wait()


def test_a_compiler_that_torch_imports_late_is_no_change() -> None:
    lines = (
        "import torch; from simulator.guard.call import Plugin, contained\n"
        "with contained(Plugin('x', True)):\n    import torch._dynamo, torch.fx, torchvision, functorch\n"
    )
    subprocess.run([sys.executable, "-c", lines], check=True)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "momentum": lambda model: setattr(model[1], "momentum", 0.5),
    "eps": lambda model: setattr(model[1], "eps", 0.5),
    "dropout": lambda model: setattr(model[2], "p", 0.9),
    "stride": lambda model: setattr(model[0], "stride", (2, 2)),
    "state hook": lambda model: model.register_state_dict_pre_hook(lambda *given: None),
    "load hook": lambda model: model.register_load_state_dict_post_hook(lambda *given: None),
    "another hook": lambda model: model._forward_hooks.update({0: lambda *given: None}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_models_settings_and_hooks_are_looked_at(change: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.1)).eval()
    model._forward_hooks[0] = lambda *given: None
    with pytest.raises(PluginError, match="got a change of model"), guarded(PLUGIN, {"model": model}):
        CHANGES[change](model)
    with guarded(PLUGIN, {"model": model}):
        model(torch.zeros(1, 1, 8, 8))


def test_a_network_of_the_users_may_count_its_calls() -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return images

    model = Counting()
    with guarded(PLUGIN, {"model": model}):
        model(torch.zeros(1))
    assert model.calls == 1
