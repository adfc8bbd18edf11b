"""The wheel alone, in an empty environment and folder."""

from __future__ import annotations

import os
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
ebbdoor study rates --no-prefect --workers 1 --set 'seeds=[0]' --set scenario.periods=1
test -s ebbdoor-runs/studies/rates/timelines.csv
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
