"""A file for a shell to read (`. FILE`): it leads `prefect` and programs of the user's to the servers that run here.

`ebbdoor` itself needs no variables, for it reads the workspace's state file. Prefect's and MLflow's own command lines
know neither the workspace nor the port that was free.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from simulator.system.files import write_whole


def shell_file(workspace: Path) -> Path:
    """Return where the file lies while the servers of a workspace run."""
    return workspace / "env"


def write_shell_file(path: Path, variables: Mapping[str, str]) -> None:
    """Write the addresses of the servers, and where `ebbdoor` and `prefect` are installed, as shell commands."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    programs = shlex.quote(str(Path(sys.executable).parent))
    write_whole(path, "\n".join([*lines, f'export PATH={programs}:"$PATH"', ""]))
