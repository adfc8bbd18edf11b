"""How much Prefect's database grows a period: played as one flow run, and by one run of `advance` a period.

    python tests/faults/prefect_growth.py --periods 10

A server of its own with SQLite, the scenario of `long_run.py` (recycled data, tiny training). Prints a table.
"""

from __future__ import annotations

import argparse
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import yaml

from flows.servers.processes import LOOPBACK, await_health, stop
from flows.servers.start import launch_prefect

_ADVANCE = """
import sys
from flows.advance import advance
for _ in range(int(sys.argv[2])):
    advance(run=sys.argv[1], periods=1)
"""


def _size(database: Path) -> int:
    """Bytes of all pages, those in the write-ahead log too."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        pages, page = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * page)


def _rows(database: Path) -> dict[str, int]:
    tables = ("flow_run", "flow_run_state", "task_run", "task_run_state", "log", "artifact", "events")
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return {name: int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in tables}


def _measured(database: Path, periods: int, what: str, command: list[str], environment: dict[str, str]) -> str:
    size, rows = _size(database), _rows(database)
    subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
    grown = (_size(database) - size) / periods / 1e3
    counts = ", ".join(f"{name} {(count - rows[name]) / periods:.1f}" for name, count in _rows(database).items())
    return f"{what:<8} {periods:>7} {grown:>9.1f}  {counts}"


def _long_run() -> Any:
    found = spec_from_file_location("long_run_for_prefect", Path(__file__).with_name("long_run.py"))
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--periods", type=int, default=10)
    periods = parser.parse_args().periods
    with tempfile.TemporaryDirectory(prefix="ebbdoor-prefect-") as name:
        folder = Path(name)
        os.environ["PREFECT_HOME"] = str(folder / "prefect")
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        scenario = folder / "long.yaml"
        scenario.write_text(yaml.safe_dump(_long_run().scenario(2 * periods, "mmd").model_dump(mode="json")))
        server = launch_prefect(folder, port)
        try:
            await_health(server, f"{server.address}/health", patience=300)
            environment = {**os.environ, "EBBDOOR_WORKSPACE": str(folder), "PREFECT_API_URL": server.address}
            database = folder / "prefect" / "prefect.db"
            begin = ["-m", "flows.cli", "run", str(scenario), "--display", "none", "--out", str(folder / "one")]
            print("played   periods  kB a period, rows a period")  # noqa: T201
            command = [*begin, "--until", str(periods - 1)]
            print(_measured(database, periods, "at once", command, environment), flush=True)  # noqa: T201
            command = ["-c", _ADVANCE, str(folder / "one"), str(periods)]
            print(_measured(database, periods, "advance", command, environment), flush=True)  # noqa: T201
        finally:
            stop(server)


if __name__ == "__main__":
    _main()
