"""A server of one run's report and the files beside it, on loopback, for the browser of this machine.

Nothing else is served: no folder is listed, and a page of another site that reaches this port by a name of its own (DNS
rebinding) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, final

from simulator.errors import ScenarioError

#: the page that is opened
REPORT: Final = "report.html"

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".jsonl": "text/plain; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8",
}
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


@final
class ReportServer(ThreadingHTTPServer):
    """Serves the exported files of a run's folder."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int | None) -> None:
        self.folder = folder
        super().__init__(("127.0.0.1", port or 0), _Handler)

    @property
    def page(self) -> str:
        """The address of the report."""
        return f"http://127.0.0.1:{self.server_port}/"


@contextmanager
def serving(folder: Path, port: int | None = None) -> Iterator[ReportServer]:
    """Give a server that listens already; `ScenarioError` where the port is taken."""
    try:
        server = ReportServer(folder, port)
    except OSError as error:
        raise ScenarioError(f"expected port {port} to be free, got {error.strerror}; give another --port") from error
    with server:
        yield server


@final
class _Handler(BaseHTTPRequestHandler):
    server: ReportServer

    def do_GET(self) -> None:
        """Answer with a file of the run."""
        from simulator.observer.run_export import FILES

        name = self.path.partition("?")[0].removeprefix("/") or REPORT
        if self.headers.get("Host") not in self._own_hosts():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to 127.0.0.1 and localhost alone")
        elif name not in FILES:
            self.send_error(HTTPStatus.NOT_FOUND, "no file of the run's report")
        else:
            self._send(self.server.folder / name)

    def _own_hosts(self) -> tuple[str, ...]:
        return tuple(f"{host}:{self.server.server_port}" for host in ("127.0.0.1", "localhost"))

    def _send(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND, f"{path.name} is gone; `ebbdoor report` writes it again")
            return
        self.send_response(HTTPStatus.OK)
        for name, value in {**_HEADERS, "Content-Type": _TYPES[path.suffix], "Content-Length": len(content)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Print nothing: the terminal holds the address."""
