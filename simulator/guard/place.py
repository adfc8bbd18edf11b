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
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.is_absolute() and file.exists() and is_users_file(file.resolve()):
            found = f" ({os.path.relpath(file) if file.is_relative_to(Path.cwd()) else file}, line {line})"
    return found


def told(error: BaseException) -> str:
    """Return the error's class, text and line in one line of bounded length that any terminal can print.

    With `EBBDOOR_TRACEBACK=1` the whole traceback is printed too.
    """
    if os.environ.get("EBBDOOR_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)
    text = " ".join(text_of(error).encode(errors="replace").decode().split())
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return f"{type(error).__name__}{': ' if short else ''}{short}{line_of(error)}"


def raised_by_user(error: BaseException) -> bool:
    """Whether the error comes out of the user's own code: its innermost frame but for libraries' is there."""
    frames = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [place for place, file in enumerate(frames) if file.is_absolute() and is_users_file(file.resolve())]
    ours = [place for place, file in enumerate(frames) if file.is_absolute() and is_ebbdoor_file(file.resolve())]
    return bool(own) and own[-1] > max(ours, default=-1)
