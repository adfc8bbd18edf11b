"""A PostgreSQL server of a test's own: a fresh cluster in a temporary folder, on a free port of loopback.

    python tests/faults/postgres.py install      install Debian's packages, as root, where they are missing

PostgreSQL refuses to run as root; there it runs as `postgres`, the user that Debian's package makes.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PASSWORD", "Cluster", "cluster", "why_impossible"]

#: what no command line, file or log of ours may show
PASSWORD = "s3same-Öffne/dich"
USER = "ebbdoor"


@dataclass
class Cluster:
    """A server that can be killed and started again; its data outlive it."""

    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def address(self, database: str) -> str:
        """Return the address of a new, empty database, with the password in it."""
        self.query("postgres", f'CREATE DATABASE "{database}" OWNER {USER}')
        secret = PASSWORD.replace("Ö", "%C3%96").replace("/", "%2F")
        return f"postgresql://{USER}:{secret}@127.0.0.1:{self.port}/{database}"

    def query(self, database: str, sql: str) -> str:
        """Return what `psql` prints for `sql`, as the superuser."""
        call = [self.programs / "psql", "-h", self.folder, "-p", str(self.port), "-d", database, "-U", "postgres"]
        done = subprocess.run(
            [*map(str, call), "-v", "ON_ERROR_STOP=1", "-Atc", sql], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(_as_user(command), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
            with suppress(OSError, subprocess.CalledProcessError):
                self.query("postgres", "SELECT 1")
                return
            time.sleep(0.1)
        raise RuntimeError("PostgreSQL did not answer in a minute")

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT cuts every connection and shuts down in order, SIGKILL as a power failure would."""
        if self.process is None:
            return
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), how)
        self.process.wait(60)
        self.process = None
        while how == signal.SIGKILL and self._children():  # they notice their parent's death and go
            time.sleep(0.05)

    def _children(self) -> bool:
        """Whether a process still holds the cluster's shared memory: starting again would be refused."""
        return any(_opened(process, self.folder / "data") for process in Path("/proc").glob("[0-9]*"))


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Make a cluster with a user of the password `PASSWORD`, start it, and remove it afterwards."""
    programs = _programs()
    assert programs is not None, why_impossible()
    folder = Path(tempfile.mkdtemp(prefix="ebbdoor-postgres-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    made = Cluster(programs, folder, port)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        _initialise(programs, folder)
        made.start()
        made.query("postgres", f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


def why_impossible() -> str:
    """Return why no cluster can be made here; nothing when one can."""
    if _programs() is None:
        return "needs PostgreSQL: as root, `python tests/faults/postgres.py install`"
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        return "PostgreSQL refuses to run as root, and there is no runuser to become another user"
    return ""


def _initialise(programs: Path, folder: Path) -> None:
    # Connections over loopback must give the password; the socket, in a folder of its own, is for the test itself.
    command: list[str | Path] = [programs / "initdb", "-D", folder / "data", "-U", "postgres", "-E", "UTF8", "-N"]
    command += ["--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256"]
    subprocess.run(_as_user(command), check=True, capture_output=True)


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs: on the path, or where Debian puts the newest."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    place = Path(found).resolve() if found else next(reversed(debian), None)
    return None if place is None else place.parent


def _as_user(command: list[str | Path]) -> list[str]:
    words = [str(word) for word in command]
    return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else words


def _opened(process: Path, folder: Path) -> bool:
    with suppress(OSError):
        return Path(os.readlink(process / "cwd")) == folder
    return False


def _install() -> None:
    if not why_impossible():
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "postgresql"]):
        subprocess.run(["apt-get", *step], env=environment, check=True)


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit(__doc__)
    _install()
