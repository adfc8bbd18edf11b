"""Errors that a user can meet, each with its exit code.

A mistake of the user's prints as one sentence without a traceback. The sentence has the form
"expected *name* to be *X*, got *Y*; do *Z*".
"""

from __future__ import annotations


class EbbdoorError(Exception):
    """Something ebbdoor can explain in one sentence."""

    exit_code = 1


class ScenarioError(EbbdoorError):
    """The scenario cannot be run as written."""

    exit_code = 2


class SourceError(ScenarioError):
    """The data of a scenario are missing or do not fit it."""


class PluginError(ScenarioError):
    """A plug-in is unknown, cannot be imported, or refuses its options."""


class ChangedCodeError(PluginError):
    """Third-party code was changed since a run or study was begun."""


class DivergedError(ScenarioError):
    """Training left the finite numbers: its arm or twin ends there, and the others go on."""

    exit_code = 6


class StoreError(EbbdoorError):
    """A registry or ledger could not be read or written."""

    exit_code = 3


class StoreUnavailableError(StoreError):
    """A store did not answer, or could not do now what it was asked for: asking again may help."""


class RunHeldError(EbbdoorError):
    """Another process is working on the run."""

    exit_code = 4


class HeldElsewhereError(RunHeldError):
    """A process of another host, of which nothing is known here, is working on the run."""


class LockHeldError(RunHeldError):
    """Another process holds a lock of a workspace, a run or a drop folder, and did not free it in time."""


class WorkerError(EbbdoorError):
    """A process of ours ended or stopped answering."""

    exit_code = 5


def text_of(error: BaseException) -> str:
    """Return the text of an error; empty where a stranger's class raises when it is asked for it."""
    try:
        return str(error)
    except (Exception, SystemExit):  # noqa: BLE001  it may raise anything
        return ""


#: exit code of `ebbdoor audit --fail-on-flag`
FLAGGED = 7

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "an error ebbdoor did not foresee",
    2: "a mistake in the scenario, its data or its plug-ins: nothing was started or what was stored is kept",
    3: "a store could not be read or written: what was committed is kept",
    4: "another process holds the run, or a lock that was waited for",
    5: "a worker process ended or stopped answering: what was committed is kept",
    6: "done, but training diverged in some arm: that arm ended there, the others are whole",
    FLAGGED: "done, but an audit flagged a model, or a defense could not say (only with --fail-on-flag)",
}
