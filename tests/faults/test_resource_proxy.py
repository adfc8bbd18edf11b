"""The barred way to a server: it passes, refuses, cuts and hangs as it is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Any]:
    """A proxy to a server that says back what it hears."""
    from resource_proxy import Proxy

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_echo, args=(listener,), daemon=True).start()
        proxy = Proxy(listener.getsockname()[1], tmp_path / "orders")
        yield proxy
        proxy.close()


def _echo(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_answer, args=(client,), daemon=True).start()


def _answer(client: socket.socket) -> None:
    with client, suppress(OSError):
        while data := client.recv(100):
            client.sendall(data)


def said_back(proxy: Any, patience: float = 5.0) -> bytes:
    port = int(proxy.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as client:
        client.sendall(b"hello")
        return client.recv(100)


def test_it_passes_everything_on(proxy: Any) -> None:
    assert said_back(proxy) == b"hello"


def test_it_refuses_for_so_long_and_then_passes(proxy: Any) -> None:
    proxy.set("refuse", 1.0)
    time.sleep(0.4)
    with pytest.raises(ConnectionRefusedError):
        said_back(proxy)
    time.sleep(1.0)
    assert said_back(proxy) == b"hello"


def test_it_cuts_connections(proxy: Any) -> None:
    proxy.set("drop", 30)
    with suppress(ConnectionResetError):
        assert said_back(proxy) == b""


def test_it_hangs_and_delivers_when_it_is_let(proxy: Any) -> None:
    proxy.set("hang", 0.8)
    with pytest.raises(TimeoutError):
        said_back(proxy, patience=0.3)
    began = time.monotonic()
    assert said_back(proxy) == b"hello"
    assert time.monotonic() - began > 0.2
