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
HOUR = 3600.0  # no test takes so long: what is barred stays so until it is told otherwise


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


def connected(proxy: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(proxy.address.rpartition(":")[2])), timeout=60)


def said_back(proxy: Any) -> bytes:
    with connected(proxy) as client:
        client.sendall(b"hello")
        return client.recv(100)


def refuses(proxy: Any) -> bool:
    """Whether a connection is refused, rather than cut as long as the proxy has not read its orders."""
    try:
        said_back(proxy)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False
    return False


def test_it_passes_everything_on(proxy: Any) -> None:
    assert said_back(proxy) == b"hello"


def test_it_refuses_for_so_long_and_then_passes(proxy: Any) -> None:
    proxy.set("refuse", HOUR)
    while not refuses(proxy):
        time.sleep(0.05)
    proxy.set("refuse", 0)
    while refuses(proxy):
        time.sleep(0.05)
    assert said_back(proxy) == b"hello"


def test_it_cuts_connections(proxy: Any) -> None:
    proxy.set("drop", HOUR)
    with suppress(ConnectionResetError):
        assert said_back(proxy) == b""


def test_it_hangs_and_delivers_when_it_is_let(proxy: Any) -> None:
    proxy.set("hang", HOUR)
    with connected(proxy) as client:
        client.sendall(b"hello")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(100)
        proxy.set("hang", 0)
        client.settimeout(60)
        assert client.recv(100) == b"hello"
