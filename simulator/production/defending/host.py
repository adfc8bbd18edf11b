"""The process from which the processes of defenses are forked: `python -m simulator.production.defending.host - FD`.

It has imported torch and what ships with ebbdoor, and never runs a stranger's code. Each call of a defense gets a fork
of it, so that none meets what another left behind, and is ended with all that it started when it has answered. This
process has one thread only, since a fork of several would not be safe.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simulator.errors import WorkerError
from simulator.system.descendants import adopt_orphans
from simulator.system.messages import Channel, ChannelClosed
from simulator.system.startup import beginning, end_soon

#: how the temporary folder is called that is made for this process
SCRATCH = "ebbdoor-defense-"


def serve(descriptor: int) -> None:
    """Answer requests on the socket `descriptor` until the other side closes it."""
    scratch = Path(os.environ["TMPDIR"])  # read now: a defense may change its environment
    end_soon()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: only the parent acts on it
    adopt_orphans()
    parent = socket.socket(fileno=descriptor)
    channel = Channel(parent)
    try:
        while True:
            body, blob = channel.receive_bytes()
            request = json.loads(body)
            said, found = _answered(request, blob, parent)
            channel.send_bytes(json.dumps({"number": request["number"], **said}).encode(), found)
    except ChannelClosed:
        return
    finally:
        _remove_scratch(scratch)


def _answered(request: Mapping[str, Any], blob: bytes, parent: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Do what is asked for; what this process itself lacks for that, as memory or a place on the disk, is a failure."""
    from simulator.production.defending.attend import attend
    from simulator.production.defending.prepared import prepare

    arguments = request["arguments"]
    try:
        if request["method"] == "prepare":
            prepare(arguments["modules"], arguments["architecture"])
            return {"value": None}, _NOTHING
        _made_ready(request["method"], arguments)
        value, found = _in_scratch(lambda: attend(request["method"], arguments, blob, parent))
        return {"value": value}, found
    except (OSError, WorkerError) as error:
        failure = {"error": str(error), "code": WorkerError.exit_code, "kind": WorkerError.__name__}
        return {"failure": failure}, _NOTHING


def _made_ready(method: str, arguments: Mapping[str, Any]) -> None:
    """Make ready what the call needs; a fault in that is this process's, and no verdict on a defense."""
    from simulator.production.defending.before_fork import ready_for

    try:
        ready_for(method, arguments)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise WorkerError(f"expected a call of a defense to be made ready, got {found}") from error


def _remove_scratch(folder: Path) -> None:
    """Remove the folder that was made for this process by the one that started it, and no other."""
    if folder.name.startswith(SCRATCH):
        shutil.rmtree(folder, ignore_errors=True)


#: no tensors, in the format of safetensors
_NOTHING = (2).to_bytes(8, "little") + b"{}"


def _in_scratch(call: Callable[[], tuple[dict[str, Any], bytes]]) -> tuple[dict[str, Any], bytes]:
    """Run `call` with a temporary folder of its own as the place for temporary files, and remove it."""
    from simulator.production.defending.before_fork import forget_ruleset

    before = os.environ["TMPDIR"]
    os.makedirs(before, exist_ok=True)  # an unconfined defense may have removed it
    folder = tempfile.mkdtemp(dir=before)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        value, found = call()
        return value, found or _NOTHING
    finally:
        os.environ["TMPDIR"] = tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
        if os.path.lexists(folder):  # no later call may read what is left
            forget_ruleset()


if __name__ == "__main__":
    with beginning():
        import simulator.production.defending.child  # noqa: F401  imports torch
    serve(int(sys.argv[2]))
