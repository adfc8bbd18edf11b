"""A way to a server that can be barred: a TCP proxy in a process of its own, told what to do through a file."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["Proxy"]


class Proxy:
    """Passes connections on to `port`; or `refuse`s them, `drop`s them at once, or lets them `hang`."""

    def __init__(self, port: int, orders: Path) -> None:
        self._orders = orders
        self.set("pass", 0)
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _serve(listener, port, orders)
            finally:
                os._exit(1)
        listener.close()

    def set(self, how: str, seconds: float) -> None:
        """Bar the way for `seconds` from now."""
        part = self._orders.with_suffix(".part")
        part.write_text(json.dumps([how, time.monotonic() + seconds]))
        part.replace(self._orders)

    def close(self) -> None:
        """End it."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _mode(orders: Path) -> str:
    how, until = json.loads(orders.read_text())
    return how if time.monotonic() < until else "pass"


def _serve(listener: socket.socket, port: int, orders: Path) -> None:
    address = listener.getsockname()
    listener.settimeout(0.1)
    while True:
        if _mode(orders) == "refuse":
            listener.close()
            while _mode(orders) == "refuse":
                time.sleep(0.05)
            listener = socket.create_server(address)
            listener.settimeout(0.1)
        with suppress(TimeoutError):
            client, _ = listener.accept()
            threading.Thread(target=_connect, args=(client, port, orders), daemon=True).start()


def _connect(client: socket.socket, port: int, orders: Path) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_pump, args=(server, client, orders), daemon=True)
        back.start()
        _pump(client, server, orders)
        back.join()


def _pump(source: socket.socket, sink: socket.socket, orders: Path) -> None:
    source.settimeout(0.1)
    with suppress(OSError):
        while True:
            mode = _mode(orders)
            if mode in ("drop", "refuse"):
                break
            try:
                data = source.recv(1 << 16) if mode == "pass" else None
            except TimeoutError:
                continue
            if data is None:
                time.sleep(0.05)
                continue
            if not data:
                break
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
