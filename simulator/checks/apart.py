"""Checking a plug-in in a process of its own, without credentials: its import and constructor may do anything."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch import Tensor

from simulator.checks.run import check, kind_of, measure
from simulator.checks.subject import CheckResult
from simulator.checks.unmeasured import NOT_MEASURED, reason_of
from simulator.errors import PluginError
from simulator.production.defending.environment import stripped
from simulator.system.messages import ChannelClosed, Method, Tensors
from simulator.system.worker import Worker


def check_apart(use: str, kind: str | None = None) -> list[CheckResult]:
    """Run the checks as `check` does; without a `kind`, that of the plug-in's base. Its errors are raised here."""
    with _process(use) as worker:
        return _checked(worker, use, kind)


def examine_apart(use: str, kind: str | None = None) -> tuple[list[CheckResult], list[str]]:
    """Run the checks, then return what a defense does on one small example too, in sentences; none of other kinds."""
    with _process(use) as worker:
        found = _checked(worker, use, kind)
        try:
            lines, _ = worker.call("measure", {"use": use, "kind": kind}, asked=f"the example for '{use}'")
        except ChannelClosed:
            lines = [f"{NOT_MEASURED}its process ended (exit status {worker.exit_status()})."]
        return found, [_not_again(line, found) for line in lines]


def _not_again(line: str, found: list[CheckResult]) -> str:
    """Return a line about the example; where it says only what a failed check has said, one that points there."""
    why = reason_of(line)
    if why and any(not one.passed and why in one.message for one in found):
        return f"{NOT_MEASURED}a failed check says why."
    return line


@contextmanager
def _process(use: str) -> Iterator[Worker]:
    worker = Worker("simulator.checks.apart:methods", environment=stripped(os.environ, 1))
    try:
        yield worker
    except ChannelClosed as error:
        raise PluginError(
            f"expected '{use}' to be imported, constructed and called without ending its process, got the end of it "
            f"(exit status {worker.exit_status()}); correct it"
        ) from error
    finally:
        worker.kill()


def _checked(worker: Worker, use: str, kind: str | None) -> list[CheckResult]:
    found, _ = worker.call("check", {"use": use, "kind": kind}, asked=f"the check of '{use}'")
    return [CheckResult(**one) for one in found]


@contextmanager
def methods() -> Iterator[Mapping[str, Method]]:
    """Give what the process serves."""

    def checked(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[list[dict[str, Any]], Tensors]:
        kind = arguments["kind"] or kind_of(arguments["use"])
        return [asdict(one) for one in check(kind, arguments["use"])], {}

    def shown(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[list[str], Tensors]:
        kind = arguments["kind"] or kind_of(arguments["use"])
        return measure(kind, arguments["use"]), {}

    yield {"check": checked, "measure": shown}
