"""Where a run is, and where in the user's own file something was raised: for the sentences about plug-ins."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from simulator.errors import text_of
from simulator.guard.own_files import is_ebbdoor_file, is_users_file

_PLACE: ContextVar[str] = ContextVar("_PLACE", default="")

#: characters of a third-party message in a sentence
_LONGEST = 300


@contextmanager
def at(place: str) -> Iterator[None]:
    """Let sentences about plug-ins say `place` inside the block, such as "in period 3 of arm 'main'"."""
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


def here() -> str:
    """Return the place with a space before it; empty outside a run."""
    return f" {_PLACE.get()}" if _PLACE.get() else ""


def line_of(error: BaseException) -> str:
    """Return ` (file.py, line 12)`: the innermost line of the user's own code, or empty where it is in none."""
    found = _in_users_code(error)
    if found is None:
        return ""
    file, line = found
    return f" ({os.path.relpath(file) if file.is_relative_to(Path.cwd()) else file}, line {line})"


def name_and_line_of(error: BaseException) -> str:
    """Return the same with the file's name alone, which is the same on every machine: for what is recorded."""
    found = _in_users_code(error)
    return "" if found is None else f" ({found[0].name}, line {found[1]})"


def print_traceback(error: BaseException) -> None:
    """Print the whole traceback to standard error where `EBBDOOR_TRACEBACK=1` asks for it."""
    if os.environ.get("EBBDOOR_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)


def told(error: BaseException) -> str:
    """Return the error's class, text and line in one line of bounded length that any terminal can print.

    With `EBBDOOR_TRACEBACK=1` the whole traceback is printed too.
    """
    print_traceback(error)
    text = " ".join(text_of(error).encode(errors="replace").decode().split())
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return f"{type(error).__name__}{': ' if short else ''}{short}{line_of(error)}"


def raised_by_user(error: BaseException) -> bool:
    """Whether the error comes out of the user's own code: its innermost frame but for libraries' is there."""
    frames = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [place for place, file in enumerate(frames) if file.is_absolute() and is_users_file(file.resolve())]
    ours = [place for place, file in enumerate(frames) if file.is_absolute() and is_ebbdoor_file(file.resolve())]
    return bool(own) and own[-1] > max(ours, default=-1)


def _in_users_code(error: BaseException) -> tuple[Path, int] | None:
    """Return file and line of the innermost frame in the user's own code; None where it is in none."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.is_absolute() and file.exists() and is_users_file(file.resolve()):
            found = file, line
    return found
