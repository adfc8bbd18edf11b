"""Defenses that attack what runs them, each in one way. Named in tests as `hostile_defenses:Name`.

Each one is a filter that would keep all rows, if it were left to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import torch
from torch import nn

from defenses.base import Context, Filter, FilterResult, Repair, RepairResult


def keep_all(context: Context, **evidence: Any) -> FilterResult:
    assert context.window is not None
    return FilterResult(torch.ones(len(context.window), dtype=torch.bool), evidence=evidence)


class Patches(Repair):
    """Returns NaN weights, and makes torch call them finite."""

    def repair(self, context: Context) -> RepairResult:
        torch.isfinite = lambda value: torch.ones_like(value, dtype=torch.bool)
        torch.equal = lambda one, other: True
        with torch.no_grad():
            for parameter in context.model.parameters():
                parameter.fill_(float("nan"))
        return RepairResult(context.model)


class NegativeVariance(Repair):
    """Returns finite weights whose network gives no finite number."""

    def repair(self, context: Context) -> RepairResult:
        for module in context.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_var is not None
                module.running_var.fill_(-1.0)
        return RepairResult(context.model)


class Forks(Filter):
    def filter(self, context: Context) -> FilterResult:
        os.fork()
        return keep_all(context)


class ForksAndWaits(Filter):
    """Its copy outlives the call, holding every descriptor, and would answer after it."""

    def filter(self, context: Context) -> FilterResult:
        if os.fork() == 0:
            time.sleep(2)
        return keep_all(context)


class Daemonises(Filter):
    """Starts a program twice removed, in a session of its own and without our environment."""

    def filter(self, context: Context) -> FilterResult:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execve("/bin/sleep", ["sleep", _SECONDS], {})
            os._exit(0)
        return keep_all(context)


class Hangs(Filter):
    """Waits for a program that does not end."""

    def filter(self, context: Context) -> FilterResult:
        subprocess.run(["sleep", _SECONDS], check=False)
        return keep_all(context)


class Freezes(Filter):
    """Stops a moment after its answer."""

    def filter(self, context: Context) -> FilterResult:
        threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGSTOP)).start()
        return keep_all(context)


class KillsItself(Filter):
    def filter(self, context: Context) -> FilterResult:
        os.kill(os.getpid(), signal.SIGKILL)
        return keep_all(context)


class Crashes(Filter):
    def filter(self, context: Context) -> FilterResult:
        os.kill(os.getpid(), signal.SIGSEGV)
        return keep_all(context)


class LeavesThreads(Filter):
    def filter(self, context: Context) -> FilterResult:
        threading.Thread(target=time.sleep, args=(600,)).start()
        return keep_all(context)


class Leaks(Filter):
    """Leaves torch otherwise than it was: the default type, a hook on all modules, a patched function."""

    def filter(self, context: Context) -> FilterResult:
        torch.set_default_dtype(torch.float64)
        nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output * 0)
        torch.linalg.solve = lambda *given: None
        torch.set_grad_enabled(False)
        return keep_all(context)


class Honest(Filter):
    """Is disturbed by each of these."""

    def filter(self, context: Context) -> FilterResult:
        assert context.window is not None
        features = context.features(context.window.images)
        pull = torch.eye(features.shape[1])
        solved = torch.linalg.solve(features.T @ features + pull, features.T @ features)
        keep = solved.diagonal().sum() * 0 + features.abs().sum(1) > 0
        keep[0] = torch.ones(1, requires_grad=True).mul(2).requires_grad is not True
        return FilterResult(keep, evidence={"folder": os.path.basename(os.getcwd()), "type": str(pull.dtype)})


class Moves(Filter):
    """Changes the working folder and the environment, which an honest one looks up."""

    def filter(self, context: Context) -> FilterResult:
        os.chdir("/")
        os.environ.clear()
        sys.path.clear()
        return keep_all(context)


class ClosesEverything(Filter):
    def filter(self, context: Context) -> FilterResult:
        os.closerange(0, 1000)
        return keep_all(context)


class WritesEverywhere(Filter):
    """Writes an answer of its own to every descriptor that it has."""

    def filter(self, context: Context) -> FilterResult:
        for descriptor in range(3, 50):
            try:
                os.write(descriptor, b"\0" * 15 + b"\x02" + b"{}" * 200)
            except OSError:
                continue
        return keep_all(context)


class HugeEvidence(Filter):
    def filter(self, context: Context) -> FilterResult:
        return keep_all(context, text="x" * 5_000_000)


class HugeNumber(Filter):
    def filter(self, context: Context) -> FilterResult:
        return keep_all(context, number=10**30)


class LoneSurrogate(Filter):
    def filter(self, context: Context) -> FilterResult:
        return keep_all(context, text="\ud800")


class RaisesSurrogate(Filter):
    def filter(self, context: Context) -> FilterResult:
        raise RuntimeError("half a pair \udcff\x1b[31m")


class Prints(Filter):
    """Writes three megabytes to standard output."""

    def filter(self, context: Context) -> FilterResult:
        for _ in range(300):
            os.write(1, b"noise " * 1700 + b"\n")
        return keep_all(context)


class Hoards(Filter):
    """Takes more memory than it may."""

    def filter(self, context: Context) -> FilterResult:
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1 << 20)) * 20)
            time.sleep(0.02)


class HoardsTogether(Filter):
    """Takes more memory than it may in sixteen processes, none of which takes too much."""

    def filter(self, context: Context) -> FilterResult:
        for _ in range(4):
            os.fork()
        own = bytearray(os.urandom(1 << 20)) * 150
        time.sleep(60.0)
        return FilterResult(torch.ones(len(context.window), dtype=torch.bool), evidence={"own": len(own + own)})


class HoardsForAMoment(Filter):
    """Takes more memory than it may, and gives it back before anyone looks."""

    def filter(self, context: Context) -> FilterResult:
        torch.ones(2**28)
        return FilterResult(torch.ones(len(context.window), dtype=torch.bool), None)


class LooksAround(Filter):
    """Says what it can reach: files, other processes, the network."""

    def filter(self, context: Context) -> FilterResult:
        import socket

        reached = []
        for path in os.environ["LOOK_AT"].split(os.pathsep):
            try:
                with open(path, "rb") as file:
                    file.read(1)
                reached.append(path)
            except OSError:
                pass
        try:
            socket.create_connection(("127.0.0.1", int(os.environ["LOOK_AT_PORT"])), timeout=5).close()
            reached.append("network")
        except OSError:
            pass
        try:
            os.kill(int(os.environ["LOOK_AT_PROCESS"]), 0)
            reached.append("process")
        except OSError:
            pass
        return keep_all(context, reached=reached)


class UsesHelpers(Filter):
    """What an honest defense may do: a temporary file, a pool of processes, its own file."""

    def filter(self, context: Context) -> FilterResult:
        import multiprocessing
        import tempfile

        with tempfile.NamedTemporaryFile() as file:
            file.write(b"kept")
        with multiprocessing.get_context("fork").Pool(1) as pool:
            found = pool.map(abs, [-3])
        with open(__file__) as own:
            lines = len(own.readlines())
        return keep_all(context, found=found, own=lines > 0)


class DiesAtFirst(Filter):
    """Is killed once, as the system does when memory runs out, and then answers."""

    def filter(self, context: Context) -> FilterResult:
        try:
            with open(os.environ["DIES_AT_FIRST"], "x"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        except FileExistsError:
            pass
        return keep_all(context)


#: seconds that no test waits for, and by which a program is found again
_SECONDS = "43219"
