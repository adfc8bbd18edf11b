"""`ebbdoor view` serves a run's report, and nothing else, to this machine alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from flows.cli import main
from flows.servers.report import ReportServer, serving


@pytest.fixture
def folder(workspace: Path) -> Path:
    """The folder of a finished run, as far as a report goes."""
    made = workspace / "mine"
    made.mkdir(parents=True)
    (made / "report.html").write_text("<!doctype html><title>mine – report</title>", "utf-8")
    (made / "run.json").write_text(json.dumps({"run": "mine", "workspace": "..", "finished": True}))
    (workspace / "secret.txt").write_text("secret")
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[ReportServer]:
    with serving(folder) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def got(server: ReportServer, path: str, host: str | None = None) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    return connection.getresponse()


def test_the_report_is_the_first_page(server: ReportServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    answer = got(server, "/")
    assert answer.status == 200
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert "default-src 'none'" in str(answer.getheader("Content-Security-Policy"))
    assert "mine – report" in answer.read().decode("utf-8")
    assert got(server, "/report.html?again").status == 200


@pytest.mark.parametrize("path", ["/run.json", "/../secret.txt", "/%2e%2e/secret.txt", "/summary.json", "//etc/passwd"])
def test_no_other_file_is_served(server: ReportServer, path: str) -> None:
    assert got(server, path).status == 404


def test_a_page_of_another_site_is_refused(server: ReportServer) -> None:
    assert got(server, "/", f"evil.example:{server.server_port}").status == 421
    assert got(server, "/", f"localhost:{server.server_port}").status == 200


def test_a_port_that_is_taken_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["view", "mine", "--port", str(port), "--no-open"])
    assert ended.value.code == 2
    assert f"expected port {port} to be free" in capsys.readouterr().err


def test_the_command_prints_its_address_and_goes_on_until_it_is_asked_to_end(folder: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "view", "mine", "--no-open", "--format", "json"]
    with subprocess.Popen(
        command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stderr.readline() == "Ctrl-C ends it\n"
        told = json.loads("".join(child.stdout.readline() for _ in range(4)))
        assert told["run"] == "mine"
        port = int(told["page"].rstrip("/").rpartition(":")[2])
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        child.send_signal(signal.SIGTERM)
        _, rest = child.communicate(timeout=60)
    assert child.returncode == 143
    assert "Traceback" not in rest
