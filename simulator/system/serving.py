"""The child's side of a worker process: `python -m simulator.system.serving MODULE:FUNCTION DESCRIPTOR`.

The function is a context manager that gives the methods to serve, by name. The parent owns the process: when the parent
closes its socket or ends, the worker reads end-of-file and ends too.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping

from simulator.system.ending import SIGNALS
from simulator.system.messages import Channel, ChannelClosed, Method, failure_values
from simulator.system.startup import beginning, end_soon


def serve(descriptor: int, methods: Mapping[str, Method]) -> None:
    """Answer requests on the socket `descriptor`, one after another, until the other side closes it.

    What a method raises goes back as values and is raised in the parent. Ctrl-C reaches every process of a terminal,
    and other signals every process of a service; only the parent acts on them.
    """
    end_soon()
    leave_signals_to_parent()
    _end_with_parent()
    channel = Channel(socket.socket(fileno=descriptor))
    while True:
        try:
            request, given = channel.receive()
        except ChannelClosed:
            return
        try:
            value, tensors = methods[request["method"]](request["arguments"], given)
            answer = {"number": request["number"], "value": value}
        except Exception as error:  # noqa: BLE001  a third-party plug-in may raise anything
            tensors = {}
            answer = {"number": request["number"], "failure": failure_values(error, request["asked"])}
        try:
            channel.send(answer, tensors)
        except ChannelClosed:  # the parent has ended meanwhile
            return


def leave_signals_to_parent() -> None:
    """Do nothing at a signal that asks to end: the parent, which gets it too, closes what is open and ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in set(SIGNALS) - {signal.SIGINT}:
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN not inherited by programs that a plug-in starts


def _end_with_parent() -> None:
    """End this process within a second of its parent, even in the middle of a call that never returns."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _main(target: str, descriptor: int) -> None:
    leave_signals_to_parent()  # importing takes seconds
    module, _, name = target.partition(":")
    with beginning():
        function = getattr(importlib.import_module(module), name)
    with function() as methods:
        serve(descriptor, methods)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
