"""A Prefect server for the length of one command, when neither the user nor `ebbdoor up` has one running.

Prefect could start one by itself, but that one writes its shutdown to the terminal. Ours starts while MLflow and
Prefect are being imported, writes to a file, keeps its history in the workspace, and ends when its parent does.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.servers.blank import blank_database, lay_blank, lay_for
from flows.servers.processes import answers
from simulator.errors import StoreError
from simulator.system.environment import child_environment
from simulator.system.startup import beginning, end_soon

_PATIENCE = 120.0

#: What this server leaves to the one of `ebbdoor up`: block types, which no run uses, and the note that they are there.
_LEAN = {
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
}


@contextmanager
def prefect_api(workspace: Path, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Give this process a Prefect server; the value, called, returns once it answers. Before Prefect's import."""
    home = Path(os.environ["PREFECT_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    if os.environ.get("PREFECT_API_URL"):
        yield lambda: None
        return
    say("starting a Prefect server for this run")
    log = workspace / "logs" / "prefect-companion.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        environment = stack.enter_context(_database(home, say))
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        stream = stack.enter_context(log.open("ab"))
        child = subprocess.Popen(
            [sys.executable, "-m", "flows.servers.companion", str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            env=environment,
            pass_fds=[listener.fileno()],  # the port is ours from the start: no other process can answer on it
            start_new_session=True,
        )
        os.environ["PREFECT_API_URL"] = address
        try:
            yield lambda: _await(child, f"{address}/health", log)
        finally:
            _send_logs()
            del os.environ["PREFECT_API_URL"]
            _end(child)


@contextmanager
def _database(home: Path, say: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """One server at a time writes the workspace's history; a second gets a database of its own."""
    with (home / "companion.lock").open("w") as lock, ExitStack() as stack:
        environment = {**_LEAN, **child_environment(), "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"}
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lay_for(environment)
        except BlockingIOError:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ebbdoor-", ignore_cleanup_errors=True))
            lay_blank(Path(folder) / "prefect.db", blank_database())
            environment["PREFECT_API_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{folder}/prefect.db"
            say("another run keeps Prefect's history in this workspace: the flow of this one is not kept there")
        yield environment


def _await(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not answers(url):
        if child.poll() is not None:
            raise StoreError(f"expected a Prefect server to start, got its end; read {log}, or use --no-prefect")
        if time.monotonic() > deadline:
            raise StoreError(f"expected a Prefect server in {_PATIENCE:.0f} s, got none; read {log}")
        time.sleep(0.1)


def _send_logs() -> None:
    """Send Prefect's last log lines while there is a server; afterwards it would try for a minute, and complain."""
    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
        for handler in logging.getLogger(name).handlers:
            handler.flush()


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.stdin:
        child.stdin.close()  # the child reads end-of-file and shuts down
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _serve(descriptor: int) -> None:
    """Run Prefect's server on an inherited socket until standard input ends."""
    with beginning():
        import uvicorn
        from prefect.server.api.server import create_app

        app = create_app(final=True)
    end_soon()

    def watch() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    uvicorn.run(app, fd=descriptor, log_level="error", lifespan="on")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
