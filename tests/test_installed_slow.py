"""The wheel alone, in an empty environment and folder, and the README's commands in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parent.parent

#: options that make any run one of seconds
TINY = (
    "--set periods=1 --set stream.base=300 --set stream.batch=200 --set stream.validation=100 --set stream.test=200 "
    "--set stream.relearning=50 --set trusted.images=60 --set recipe.base.epochs=1 --set recipe.update.epochs=1 "
    "--set 'probes=[{use: attack-success}]' --set 'monitor={use: none}'"
)


def clean(folder: Path) -> dict[str, str]:
    """The variables of a user who has just logged in, with a home of the test's own."""
    left = ("MLFLOW_", "PREFECT_", "EBBDOOR_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left)}
    (folder / "home").mkdir(exist_ok=True)
    return {**kept, "HOME": str(folder / "home")}


def installed(folder: Path) -> Path:
    """Install the wheel, and nothing else, beside the packages of this environment; return where its programs lie."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "wheel"), "."]
    tree = shutil.copytree(
        ROOT, folder / "tree", ignore=shutil.ignore_patterns(".*", "ebbdoor-runs", "build", "*.egg-info")
    )
    subprocess.run(build, cwd=tree, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = (folder / "wheel").glob("*.whl")
    install = [str(python), "-m", "pip", "install", "-qq", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    packages = Path(next(path for path in map(Path, _site(python)) if path.is_dir()))
    third_party = {
        str(Path(module.__file__ or "").parents[1]) for module in map(__import__, ("torch", "mlflow", "pip"))
    }
    (packages / "third_party.pth").write_text("\n".join(sorted(third_party)) + "\n")
    return python.parent


def _site(python: Path) -> list[str]:
    code = "import site; print(*site.getsitepackages(), sep='\\n')"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_the_wheel_alone_runs_checks_studies_and_serves(tmp_path: Path) -> None:
    programs, here = installed(tmp_path), tmp_path / "empty"
    here.mkdir()
    environment = {**clean(tmp_path), "PATH": f"{programs}:{os.environ['PATH']}"}
    script = f"""set -ex
python -c 'import flows; assert "{tmp_path}/venv" in flows.__file__, flows.__file__'
ebbdoor check strip --kind defenses
ebbdoor run quickstart --no-prefect {TINY}
ebbdoor study rates --quick --no-prefect --workers 1 --set 'seeds=[0]' || ebbdoor study rates --help
trap 'ebbdoor down' EXIT
ebbdoor up
. ebbdoor-runs/env
python -m prefect deployment inspect simulate/local > /dev/null
ebbdoor status
"""
    done = subprocess.run(
        ["bash", "-c", script], cwd=here, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def _played(script: str, folder: Path, environment: dict[str, str]) -> str:
    """Play a shell script, which must succeed, and return what it printed."""
    words = ["bash", "-c", script]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def shell_blocks(page: str) -> list[str]:
    """The shell blocks of a page, in order."""
    return re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def test_the_servers_of_the_readme_work_as_printed(tmp_path: Path) -> None:
    """The block of Prefect and MLflow, in a copy of the project in which `make` finds everything installed."""
    block = next(block for block in shell_blocks("README.md") if "prefect deployment run" in block)
    copy = shutil.copytree(ROOT, tmp_path / "ebbdoor", ignore=shutil.ignore_patterns(".*", "ebbdoor-runs", "build"))
    (copy / ".venv" / "bin").mkdir(parents=True)
    for name, module in (("ebbdoor", "flows.cli"), ("prefect", "prefect"), ("python", "")):
        program = copy / ".venv" / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {"-m " + module if module else ""} "$@"\n')
        program.chmod(0o755)
    (copy / ".venv" / ".ready").touch()
    # the scenario of the demo takes a minute or more: the same, smaller, under its name
    preset = copy / "simulator" / "scenario" / "presets" / "quickstart.yaml"
    preset.write_text(_smaller(preset.read_text("utf-8")), "utf-8")
    environment = {**clean(tmp_path), "PATH": f"{copy}/.venv/bin:{os.environ['PATH']}", "PYTHONPATH": str(copy)}
    script = f"set -ex\ntrap 'make down' EXIT\n{block}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Completed" in done.stdout + done.stderr


def _smaller(text: str) -> str:
    import yaml

    values = yaml.safe_load(text)
    stream = {"base": 300, "batch": 200, "validation": 100, "test": 200, "relearning": 50}
    values |= {"periods": 1, "arms": {"main": {}}, "probes": [{"use": "attack-success"}], "monitor": {"use": "none"}}
    values["stream"] = {**values.get("stream", {}), **stream}
    values["trusted"] = {**values.get("trusted", {}), "images": 60}
    return str(yaml.safe_dump(values, sort_keys=False))
