"""What can be taken away from a run in its middle, and how it is given back."""

from __future__ import annotations

import ctypes
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fault_servers import Served
from kill_trace import Trigger
from resource_proxy import Proxy

__all__ = ["SCENES", "Impossible", "Scene", "Stage"]

_NEW_NAMESPACE, _NEW_USER = 0x00020000, 0x10000000  # CLONE_NEWNS, CLONE_NEWUSER
_IN_MIDDLE = "period 2"
_PATIENCE = "EBBDOOR_STORE_PATIENCE"


class Impossible(Exception):
    """This machine does not let us take that away."""


@dataclass
class Stage:
    """Where a scene is played: a workspace, and an MLflow server over it with a proxy before it, if it has one."""

    workspace: Path
    server: Served | None = None
    proxy: Proxy | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def close(self) -> None:
        """Stop what was started."""
        if self.proxy is not None:
            self.proxy.close()
        if self.server is not None:
            self.server.thaw()
            self.server.stop()


def _nothing(stage: Stage) -> None:
    return


@dataclass(frozen=True)
class Scene:
    """`strike` happens in the playing process at `trigger`; `prepare` and `restore` in the one that plays the scene.

    `exit` is the exit code that the run must end with.
    """

    name: str
    trigger: Trigger
    strike: Callable[[Stage], None]
    exit: int
    prepare: Callable[[Stage], None]
    restore: Callable[[Stage], None] = _nothing
    environment: Mapping[str, str] = field(default_factory=dict)
    server: bool = False


def _workspace(stage: Stage) -> None:
    stage.environment = {"EBBDOOR_WORKSPACE": str(stage.workspace)}


# -- file systems: in a mount namespace of the scene's own, so that nothing is left behind -----------------------------


def _own_mounts(stage: Stage) -> None:
    """Let this process and its children have mounts of their own, as root of a user namespace where it is not root."""
    _workspace(stage)
    user, group = os.getuid(), os.getgid()
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "unshare") or library.unshare(_NEW_NAMESPACE | (_NEW_USER if user else 0)):
        raise Impossible(f"no mount namespace here ({os.strerror(ctypes.get_errno())})")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("--make-rprivate", "/")


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(f"mount is refused here ({done.stderr.strip()})")


def _small_disk(stage: Stage) -> None:
    """Put the workspace on a disk of 64 MB."""
    _own_mounts(stage)
    database = (stage.workspace / "mlflow.db").read_bytes()
    _mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(stage.workspace))
    (stage.workspace / "mlflow.db").write_bytes(database)


def _fill(stage: Stage) -> None:
    with (stage.workspace / "balloon").open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while stream.write(b"\0" * size):
                    pass
            except OSError:  # full
                continue


def _empty(stage: Stage) -> None:
    (stage.workspace / "balloon").unlink()


def _storage(stage: Stage) -> None:
    """Make the artifact store a mount, which can be made read-only even for root."""
    _own_mounts(stage)
    artifacts = str(stage.workspace / "artifacts")
    Path(artifacts).mkdir()
    _mount("--bind", artifacts, artifacts)


def _read_only(stage: Stage) -> None:
    _mount("-o", "remount,bind,ro", str(stage.workspace / "artifacts"))


def _writable(stage: Stage) -> None:
    _mount("-o", "remount,bind,rw", str(stage.workspace / "artifacts"))


# -- the database ------------------------------------------------------------------------------------------------------


def _locked(seconds: float) -> Callable[[Stage], None]:
    """Return what locks the database against everybody for `seconds`."""

    def strike(stage: Stage) -> None:
        locked = threading.Event()

        def hold() -> None:
            connection = sqlite3.connect(stage.workspace / "mlflow.db", timeout=30, isolation_level=None)
            connection.execute("BEGIN EXCLUSIVE")
            locked.set()
            time.sleep(seconds)
            connection.execute("ROLLBACK")
            connection.close()

        threading.Thread(target=hold, daemon=True).start()
        assert locked.wait(30)

    return strike


# -- the registry's server ---------------------------------------------------------------------------------------------


def _through_server(stage: Stage) -> None:
    assert stage.server is not None
    stage.server.start()
    stage.environment = {"EBBDOOR_WORKSPACE": str(stage.workspace), "MLFLOW_TRACKING_URI": stage.server.address}


def _through_proxy(stage: Stage) -> None:
    _through_server(stage)
    assert stage.server is not None
    stage.proxy = Proxy(int(stage.server.address.rpartition(":")[2]), stage.workspace.parent / "proxy")
    stage.environment["MLFLOW_TRACKING_URI"] = stage.proxy.address


def _away(how: str, seconds: float) -> Callable[[Stage], None]:
    def strike(stage: Stage) -> None:
        assert stage.proxy is not None
        stage.proxy.set(how, seconds)

    return strike


def _back(stage: Stage) -> None:
    assert stage.proxy is not None
    stage.proxy.set("pass", 0)


def _frozen(seconds: float) -> Callable[[Stage], None]:
    """Return what stops the server's processes for `seconds`, while the system goes on accepting connections."""

    def strike(stage: Stage) -> None:
        assert stage.server is not None
        group = stage.server.pid
        os.killpg(group, signal.SIGSTOP)
        threading.Timer(seconds, os.killpg, (group, signal.SIGCONT)).start()

    return strike


# -- the clock ---------------------------------------------------------------------------------------------------------


def _clock_back(stage: Stage) -> None:
    """Set this process's wall clock back by a day; `time.monotonic` goes on, as the system's would."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - 86_400
    time.time_ns = lambda: now_ns() - 86_400 * 10**9


def _clock_back_and_killed(stage: Stage) -> None:
    _clock_back(stage)
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGKILL)).start()


_TRAINING = Trigger(f"train of main, {_IN_MIDDLE}", 0, "before")
_REGISTERING = Trigger(f"register of main, {_IN_MIDDLE}", 0, "before")
_PUBLISHING = Trigger(f"commit of main, {_IN_MIDDLE}", 0, "before")
_COMMITTING = Trigger("log_text periods/0002.json", 0, "before")
_SHORT = {_PATIENCE: "6"}

SCENES = (
    Scene("disk full while a version is stored", _REGISTERING, _fill, 3, _small_disk, _empty, _SHORT),
    Scene("disk full while a period is committed", _COMMITTING, _fill, 3, _small_disk, _empty, _SHORT),
    Scene("artifact store read-only", _REGISTERING, _read_only, 3, _storage, _writable, _SHORT),
    Scene("database locked for 5 s", _PUBLISHING, _locked(5), 0, _workspace),
    Scene("database locked for ever", _PUBLISHING, _locked(9999), 3, _workspace, environment=_SHORT),
    Scene("MLflow refuses connections for 30 s", _REGISTERING, _away("refuse", 30), 0, _through_proxy, server=True),
    Scene("MLflow drops connections for 30 s", _PUBLISHING, _away("drop", 30), 0, _through_proxy, server=True),
    Scene("MLflow does not answer for 10 s", _COMMITTING, _away("hang", 10), 0, _through_proxy, server=True),
    Scene("MLflow away for ever", _PUBLISHING, _away("refuse", 9999), 3, _through_proxy, _back, _SHORT, server=True),
    Scene("MLflow server stopped (SIGSTOP) for 8 s", _REGISTERING, _frozen(8), 0, _through_server, server=True),
    Scene("clock set back by a day", _TRAINING, _clock_back, 0, _workspace),
    Scene("clock set back by a day, then killed", _TRAINING, _clock_back_and_killed, -9, _workspace),
)
