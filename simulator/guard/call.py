"""The one guard under which plug-ins that run in this process are called.

What a plug-in was shown must be as it was, and settings of the process must be put back, or the run ends with one
sentence before anything of the period is kept. It contains slips; it is no sandbox.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, final

from simulator.errors import EbbdoorError, PluginError
from simulator.guard.inputs import changed, prints_of
from simulator.guard.place import here, raised_by_user, told
from simulator.guard.settings import Beside, put_back, read_settings, seed_all
from simulator.guard.started import Started

R = TypeVar("R")

#: the exit status of a process that a plug-in forked and let go on into ebbdoor's own code
_FORKED = 70


@final
@dataclass(frozen=True, slots=True)
class Plugin:
    """Who is called: `name` for sentences, such as "monitor 'mine:Mine'"; `foreign`: somebody else's code."""

    name: str
    foreign: bool


@contextmanager
def guarded(
    plugin: Plugin, shown: Mapping[str, Any], *, seed: int = 0, passes: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Call a plug-in inside the block; `shown` is what it sees, by name.

    `seed` seeds the global generators for code that draws from them, and they are restored. What it raises becomes a
    `PluginError` that says where, but for `passes` and errors of ebbdoor's own. One of ours is only held to `shown`.
    """
    before = prints_of(shown, thorough=plugin.foreign)
    if plugin.foreign:
        with contained(plugin, seed=seed):
            try:
                yield
            except EbbdoorError:
                raise
            except passes:
                raise
            except Exception as error:
                raise failure(plugin, error) from error
    else:
        yield
    found = changed(before, shown, thorough=plugin.foreign)
    if found:
        raise PluginError(
            f"expected {plugin.name} to leave what it is shown as it is{here()}, got a change of {', '.join(found)}; "
            "let it work on a copy"
        )


@contextmanager
def contained(plugin: Plugin, *, seed: int = 0, imports: bool = False) -> Iterator[None]:
    """Put back the process's settings and random states after the block; `PluginError` where a setting was changed.

    A process that the block forks ends where the block ends. With `imports`, the environment and the import path stay
    as the block leaves them: modules set them for later.
    """
    settings, beside, started = read_settings(), Beside.taken(), Started.now()
    try:
        with forks_end():
            seed_all(seed)
            yield
    except SystemExit as error:
        raise ending(plugin.name, error) from error
    finally:
        left = put_back(settings)
        beside.put_back(only_random=imports)
    if left:
        raise PluginError(
            f"expected {plugin.name} to leave the process as it is{here()}, got a change of {', '.join(left)}; "
            "let it put back what it sets"
        )
    at_work = started.left()
    if at_work:
        raise PluginError(
            f"expected {plugin.name} to have ended its threads and processes{here()}, "
            f"got {', '.join(at_work)} at work; let it wait for their ends before it returns"
        )


def stage_contained(stage: str, call: Callable[[], R]) -> R:
    """Run a stage and return what it gives: what networks, optimizers and others leave changed or raise in it is told.

    Those are called many times inside a stage, too often to be looked at one by one.
    """
    settings, started = read_settings(), Started.now()
    try:
        with forks_end():
            answer = call()
    except EbbdoorError:
        put_back(settings)
        raise
    except SystemExit as error:
        put_back(settings)
        raise ending(f"stage '{stage}'", error) from error
    except Exception as error:
        _expect_put_back(stage, settings, error)  # a change may well be the cause
        if raised_by_user(error):
            raise PluginError(
                f"expected stage '{stage}' to work{here()}, got {told(error)}; correct that file"
            ) from error
        raise
    except BaseException:
        put_back(settings)
        raise
    _expect_put_back(stage, settings)
    if threads := started.noted_threads():
        raise PluginError(
            f"expected the network, optimizer and others of stage '{stage}' to have ended their threads{here()}, "
            f"got {', '.join(threads)} at work; join them"
        )
    return answer


def _expect_put_back(stage: str, settings: dict[str, Any], error: Exception | None = None) -> None:
    """Put `settings` back, and raise `PluginError` where one was changed."""
    left = put_back(settings)
    if left:
        raise PluginError(
            f"expected the network, optimizer and others of stage '{stage}' to leave the process as it is{here()}, "
            f"got a change of {', '.join(left)}; let them put back what they set"
        ) from error


@contextmanager
def forks_end() -> Iterator[None]:
    """Let a process that the block forks end where the block ends: it would go on as a second run of ours."""
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(_FORKED)


def ending(who: str, error: SystemExit) -> PluginError:
    """Return the sentence about code that asked for the end of the process."""
    return PluginError(
        f"expected {who} to return{here()}, got an attempt to end the process, {told(error)}; correct it"
    )


def failure(plugin: Plugin, error: Exception) -> PluginError:
    """Return the sentence about what a plug-in raised."""
    return PluginError(f"expected {plugin.name} to work{here()}, got {told(error)}; correct it")
