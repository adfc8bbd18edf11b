"""What is done once for many calls, or once a call outside its time limit: in the process of which a call is a fork."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.production.defending.job import build
from simulator.production.defending.prepared import CONFINEMENT, keep_defense
from simulator.scenario import catalog


def ready_for(method: str, arguments: Mapping[str, Any]) -> None:
    """Make ready what a call of `method` with `arguments` is confined to, and its defense where it is ours.

    A stranger's defense is only imported and constructed in the call's own process. The time that this takes is not the
    call's; the process that asked waits half a minute longer than the call may take.
    """
    if arguments["confine"]:
        modules, hidden = [arguments["module"], "simulator", "defenses"], map(Path, arguments["hidden"])
        CONFINEMENT.make_ready(modules, hidden, arguments["folders"])
    else:
        CONFINEMENT.close()
    if method == "run":
        use, options = arguments["job"]["use"], arguments["job"]["options"]
        if not catalog.is_third_party("defenses", use):
            keep_defense(use, options, lambda: build(use, options))


def forget_ruleset() -> None:
    """Let the next call have a ruleset of its own: the last one knows a folder that could not be removed."""
    CONFINEMENT.close()
