"""The environment that Prefect and MLflow read on import, and the workspace of all of a user's runs.

Variables that the user has set are never overwritten; `NO_PROXY` gets the names of this machine beside the user's.
"""

from __future__ import annotations

import os
from pathlib import Path

from simulator.system.environment import spare_local_servers
from simulator.system.sqlite import check_address
from simulator.system.workspace import WORKSPACE as WORKSPACE
from simulator.system.workspace import default_workspace as default_workspace

#: the deployment of `prefect.yaml` that plays one timeline of a study
TIMELINE = "timeline/local"

#: Off-line machines would otherwise log telemetry errors. DO_NOT_TRACK is read by MLflow only as the literal `true`.
_QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds, the least there is: `flows.servers.pools` counts on it
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
}


def study_folder(study: str, out: str | Path | None, workspace: Path) -> Path:
    """Return the folder of a study: `out`, or `studies/NAME` in the workspace."""
    return Path(out).absolute() if out else workspace / "studies" / study


def cache_folder(workspace: Path) -> Path:
    """Return the folder of cached trainings and readings, which all studies of the workspace share."""
    return workspace / "cache"


def prepare() -> None:
    """Set the variables that the user has not set. Has an effect on Prefect only before its import."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(default_workspace() / "prefect"))
    spare_local_servers(os.environ)


def mute_console() -> None:
    """Keep Prefect's log off the terminal, where the display is; the server still gets it. Before Prefect's import."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # A server that is away would otherwise fill the terminal with every event that did not reach it.
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")


def state_file(workspace: Path) -> Path:
    """Return where `ebbdoor up` notes what it started."""
    return workspace / "servers.json"


def addresses(workspace: Path) -> dict[str, str]:
    """Return the addresses to use by variable name: what the user set, else what `ebbdoor up` started here."""
    from flows.servers.processes import alive, is_loopback, noted_servers

    servers = noted_servers(state_file(workspace))
    ours = (server for server in servers if server.variable and is_loopback(server.address) and alive(server))
    noted = {server.variable: server.address for server in ours}
    return noted | own_addresses()


def own_addresses() -> dict[str, str]:
    """Return the addresses of servers that the user set, by variable name."""
    return {name: os.environ[name] for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI") if os.environ.get(name)}


def is_own(address: str, workspace: Path) -> bool:
    """Return whether `ebbdoor up` started the server at `address` over this workspace's own stores."""
    from flows.servers.processes import is_loopback, noted_servers

    return is_loopback(address) and address in {server.address for server in noted_servers(state_file(workspace))}


def use_workspace() -> Path:
    """Point this process at the servers of `addresses`, and return the workspace. Before Prefect's import."""
    workspace = default_workspace()
    check_address(workspace)
    os.environ.update(addresses(workspace))
    return workspace
