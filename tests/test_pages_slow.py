"""Every shell block of README.md and docs/operations.md, in order, as printed, in a fresh clone with servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/operations.md")
PRESETS = "simulator/scenario/presets"

#: the sizes of a scenario that trains in seconds
SMALL = {"base": 400, "batch": 200, "validation": 100, "test": 300, "relearning": 100}


def clean(folder: Path) -> dict[str, str]:
    """The variables of a user who has just logged in, with a home of the test's own."""
    left = ("MLFLOW_", "PREFECT_", "EBBDOOR_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left)}
    (folder / "home").mkdir(exist_ok=True)
    return {**kept, "HOME": str(folder / "home")}


def blocks(page: str) -> list[str]:
    """The shell blocks of a page, in order."""
    return re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the project in which `make` finds everything installed, and presets train on few images."""
    folder = tmp_path_factory.mktemp("clone") / "ebbdoor"
    clone = ["git", "-c", "safe.directory=*", "clone", "--quiet", "--local", str(ROOT), str(folder)]
    subprocess.run(clone, check=True, capture_output=True)
    _install(folder)
    presets = folder / PRESETS
    _edit(presets / "quickstart.yaml", _smaller)
    _edit(presets / "studies" / "permanence.yaml", _smaller_study)
    return folder


def _install(folder: Path) -> None:
    """What `make install` does, with the packages of this environment instead of downloads."""
    environment = folder / ".venv"
    venv.create(environment, symlinks=True)
    (packages,) = environment.glob("lib/python3*/site-packages")
    third_party = {str(Path(module.__file__ or "").parents[1]) for module in map(__import__, ("torch", "mlflow"))}
    (packages / "third_party.pth").write_text("\n".join(sorted(third_party)) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "-qq"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--no-build-isolation", "--editable", "."], cwd=folder, check=True)
    for name in ("prefect", "mlflow"):
        program = environment / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {environment}/bin/python -m {name} "$@"\n')
        program.chmod(0o755)
    (environment / ".ready").touch()


def _edit(path: Path, change: Any) -> None:
    values = yaml.safe_load(path.read_text("utf-8"))
    change(values)
    path.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")


def _smaller(scenario: dict[str, Any]) -> None:
    scenario["stream"] = {**scenario["stream"], **SMALL}
    scenario["trusted"] = {**scenario.get("trusted", {}), "images": 60}
    scenario["periods"] = min(scenario["periods"], 3)


def _smaller_study(study: dict[str, Any]) -> None:
    """The horizons of its claims need all periods, and one of its settings 512 rows of a batch."""
    study["scenario"]["stream"] |= {"base": 600, "batch": 512, "test": 300}
    study["quick"]["seeds"] = study["quick"]["seeds"][:1]


def test_every_block_works_as_printed(clone: Path) -> None:
    """In one shell, as a reader types them: what one block sets, the next one finds."""
    script = ["set -ex", "TOP=$PWD", "trap 'cd \"$TOP\"; make down' EXIT"]
    for page in PAGES:
        script += [f": page {page}", *blocks(page)]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=clone,
        env=clean(clone.parent),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    assert "Traceback" not in said
    assert said.count("Completed") >= 4  # simulate/local, two periods, the retraining
    assert not (clone / "ebbdoor-runs" / "live" / "run.json").exists()


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_says_why(page: str) -> None:
    """A command that is no `sh` block is one that a reader must complete: it holds a word in capitals for that."""
    text = (ROOT / page).read_text("utf-8")
    starts = r"(?m)^(?:ebbdoor|make|prefect|mlflow|export|cd|\.) "
    others = [body for kind, body in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) if kind != "sh"]
    for body in others:
        if re.search(starts, body):
            assert re.search(r"\b[A-Z]{4,}\b.*# put in your own", body), body
