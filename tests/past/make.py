"""Make what a run leaves behind with today's code, to be loaded, predicted with and resumed by later code.

    python tests/past/make.py FOLDER

FOLDER holds the scenario, `past.yaml`. Two runs are stopped after period 2 of 5: one with its ledger in `folder/`, both
arms; one as `ebbdoor run` keeps it, its workspace in `workspace.tar.xz`, arm `main` alone. `made.json` holds what they
must give. Nothing is made again for code that is only moved: what is here was written by the code that its README says.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ |= {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # before torch is imported
sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))

import numpy as np
from fingerprint import about, key_of
from placeholder import PLACEHOLDER, UNTIL, replace_in
from safetensors.torch import save_file

from simulator.loop.run import open_run, play
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.memory import MemoryRegistry
from simulator.scenario.load import load_scenario


def main() -> None:
    """Fill the folder."""
    folder = Path(sys.argv[1])
    for name in ("folder", "workspace.tar.xz", "made.json"):
        if (folder / name).exists():
            sys.exit(f"expected no {name} in {folder}, got one; it is not made again, take a new folder")
    made = {"fingerprint": key_of(about()), "folder": _folder_run(folder), "workspace": _workspace_run(folder)}
    (folder / "made.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")


def _folder_run(folder: Path) -> dict[str, Any]:
    scenario = load_scenario(str(folder / "past.yaml"))
    registry, ledger = MemoryRegistry(), FolderLedger(folder / "folder")
    entries = play(open_run(scenario, registry, ledger, "past"), scenario, registry, ledger, until=UNTIL, processes=0)
    versions = {}
    for line, payloads in registry.versions.items():
        place = folder / "folder" / "versions" / line.name
        place.mkdir(parents=True)
        for ordinal, payload in payloads.items():
            save_file(
                {name: value.contiguous() for name, value in payload.weights.items()}, place / f"{ordinal}.safetensors"
            )
        versions[line.name] = [
            {"ordinal": item.ordinal, "parent": item.parent, "period": item.period, "architecture": item.architecture}
            for item in payloads.values()
        ]
    digests = {line: [entry.sha256 for entry in periods] for line, periods in entries.items()}
    return {"run": "past", "digests": digests, "versions": versions}


def _workspace_run(folder: Path) -> dict[str, Any]:
    with TemporaryDirectory() as temporary:
        workspace = Path(temporary).resolve() / "ebbdoor-runs"
        command = [
            "run",
            str((folder / "past.yaml").resolve()),
            "--no-prefect",
            "--processes",
            "0",
            "--display",
            "none",
        ]
        command += ["--set", "arms={main: {}}", "--until", str(UNTIL)]
        clean = {
            name: value
            for name, value in os.environ.items()
            if name not in ("EBBDOOR_WORKSPACE", "MLFLOW_TRACKING_URI")
        }
        subprocess.run([sys.executable, "-m", "flows.cli", *command], cwd=temporary, env=clean, check=True)
        run = next(workspace.glob("*/run.json")).parent.name
        values = {"run": run, **_read(workspace, run)}
        _scrub(workspace)
        with tarfile.open(folder / "workspace.tar.xz", "w:xz") as archive:
            archive.add(workspace, "ebbdoor-runs", filter=_nobodys)
    return values


def _read(workspace: Path, run: str) -> dict[str, Any]:
    """Return the digests of the committed periods, and the logits of the champions for seeded images."""
    import mlflow.pyfunc

    from simulator.production.registry.open import open_stores

    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{workspace / 'mlflow.db'}"
    _, ledger = open_stores(tracking_uri=None, workspace=workspace)
    lines = ledger.head(run).lineages
    images = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    models = {line.name: f"ebbdoor.{run}.{line.name}" for line in lines}
    return {
        "digests": {line.name: [entry.sha256 for entry in ledger.entries(line)] for line in lines},
        "logits": {
            model: mlflow.pyfunc.load_model(f"models:/{model}@champion").predict(images).tolist()
            for model in models.values()
        },
    }


def _scrub(workspace: Path) -> None:
    """Put the placeholder for the workspace's folder, and check that nothing of this machine is left."""
    with closing(sqlite3.connect(workspace / "mlflow.db", isolation_level=None)) as database:
        replace_in(database, str(workspace), PLACEHOLDER)
        replace_in(database, str(workspace.parent), PLACEHOLDER)
        database.execute("VACUUM")
    for path in workspace.rglob("*"):
        if path.is_file() and path.suffix in (".html", ".json", ".jsonl", ".yaml"):
            path.write_text(path.read_text("utf-8").replace(str(workspace), PLACEHOLDER), "utf-8")
    own = [
        str(workspace.parent),
        str(Path(__file__).parents[2]),
        str(Path.home()),
        sys.prefix,
        f'"{socket.gethostname()}"',
    ]
    for path in workspace.rglob("*"):
        left = [name for name in own if path.is_file() and name.encode() in path.read_bytes()]
        if left:
            sys.exit(f"expected {path} to name nothing of this machine, got {left}")


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
