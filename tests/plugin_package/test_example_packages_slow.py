"""The packages under examples/packages, installed as a stranger would without an index, checked and played."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PACKAGES = Path(__file__).parents[2] / "examples" / "packages"
NAMES = sorted(folder.name for folder in PACKAGES.iterdir() if (folder / "pyproject.toml").is_file())
#: a digits run of seconds
TINY = (
    "run digits --no-prefect --out played --set periods=2 --set stream.base=300 --set stream.batch=100 "
    "--set stream.validation=60 --set stream.test=100 --set stream.relearning=20 --set trusted.images=100 "
    "--set recipe.base.epochs=2 --set recipe.update.epochs=1 --set probes=[] "
    "--set 'monitor={use: none}' --set 'arms={main: {}}' --set twins=[]"
)
#: the keys of its defense that the scenario adds
KEYS = {"near-another-class": "", "stride-watch": ", least: 1, may: [hold]"}


@dataclass(frozen=True)
class Installed:
    """A package in an environment of its own, beside the packages of this one."""

    python: Path
    folder: Path

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "EBBDOOR_WORKSPACE": str(self.folder / "runs")}
        command = [str(self.python), "-m", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr)  # noqa: T201 - pytest shows it when a test fails
        return done


@pytest.fixture(scope="module", params=NAMES)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    root = tmp_path_factory.mktemp(request.param)
    source = shutil.copytree(PACKAGES / request.param, root / "source")  # building leaves traces where it happens
    venv.create(root / "venv", symlinks=True)
    python = root / "venv" / "bin" / "python"
    code = "import site; print(site.getsitepackages()[0])"
    own = Path(subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip())
    beside = [path for path in sys.path if path.endswith("site-packages")]
    (own / "beside.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in beside))
    found = Installed(python, root)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    assert found.call("pip", "install", *options, str(source)).returncode == 0
    return found


def name_of(installed: Installed) -> str:
    return next(name for name in NAMES if installed.folder.name.startswith(name))


def test_its_own_test_passes(installed: Installed) -> None:
    options = ("-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider")
    assert installed.call("pytest", *options, "source").returncode == 0


def test_it_is_listed_and_keeps_the_contract(installed: Installed) -> None:
    name = name_of(installed)
    listed = json.loads(installed.call("flows.cli", "list", "defenses", "--format", "json").stdout)
    assert name in {row["name"] for row in listed}
    assert installed.call("flows.cli", "check", name).returncode == 0


def test_it_is_played_by_its_short_name(installed: Installed) -> None:
    name = name_of(installed)
    defense = f"defenses=[{{use: {name}{KEYS[name]}}}]"
    assert installed.call("flows.cli", *shlex.split(TINY), "--set", defense).returncode == 0
    rows = [json.loads(line) for line in (installed.folder / "played" / "periods.jsonl").read_text().splitlines()]
    outcomes = [(row["period"], one["name"], one["status"]) for row in rows for one in row["outcomes"]]
    assert {found for _, found, _ in outcomes} == {name}
    assert {status for _, _, status in outcomes} <= {"passed", "changed", "flagged", "skipped"}
    looked = {period for period, _, status in outcomes if status != "skipped"}
    assert looked >= {1, 2}
    assert f"main: {name}" in (installed.folder / "played" / "report.html").read_text("utf-8")
