"""`ebbdoor init`: a scenario to begin with, every key of it explained."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer

from flows.commands.output import say
from simulator.errors import ScenarioError

#: what a scenario may be called
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must be new.")]


def init(file: File = Path("scenario.yaml")) -> None:
    """Write a scenario to begin with, in which every key is explained; it can be played as it is."""
    from flows.runs.folder import typed

    if file.suffix not in (".yaml", ".yml"):
        raise ScenarioError(f"expected a .yaml file, got '{file}'; rename it")
    if not file.absolute().parent.is_dir():
        raise ScenarioError(f"expected '{file}' to lie in a folder, got none; make the folder first")
    text = (files("simulator.scenario") / "new.yaml").read_text("utf-8")
    name = file.stem if _NAME.fullmatch(file.stem) else "mine"
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(text.replace("name: mine  ", f"name: {name}  ", 1))
    except FileExistsError:
        raise ScenarioError(f"expected '{file}' to be new, got one that is there; give another name") from None
    except OSError as error:
        raise ScenarioError(f"expected '{file}' to be writable, got {error.strerror}; give another name") from error
    say(f"wrote {file}; play it with:\n  ebbdoor run {typed(file.absolute())}")
