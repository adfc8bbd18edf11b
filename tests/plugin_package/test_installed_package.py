"""A stranger's package, really built and installed, is found by its short name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both packages, each installed into a folder of its own."""
    root = tmp_path_factory.mktemp("packages")
    folders = {}
    for name in ("first", "second"):
        source = shutil.copytree(HERE / name, root / f"{name}-source")  # building leaves traces where it happens
        folders[name] = root / name
        options = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folders[name]), str(source)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    return folders


def run(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh process that sees `folders` as installed."""
    path = os.pathsep.join(map(str, folders))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    root = HERE.parent.parent
    return subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True)


def test_short_name_is_listed_without_importing_the_package(installed: dict[str, Path]) -> None:
    code = """
import sys
from simulator.scenario.catalog import names
print(names("defenses")["label-vote"], "label_vote" in sys.modules)
"""
    done = run(code, installed["first"])
    assert done.stdout.split() == ["label_vote.filter:LabelVote", "False"], done.stderr


def test_scenario_names_it(installed: dict[str, Path]) -> None:
    code = """
import json
from simulator.preflight.scenario import check_scenario
from simulator.scenario.load import load_scenario
from simulator.scenario.plugins import resolved
scenario = load_scenario("digits", ["defenses=[{use: label-vote}]"])
check_scenario(scenario)
print(json.dumps(resolved(scenario)["defenses"]))
"""
    done = run(code, installed["first"])
    assert json.loads(done.stdout or "null") == [{"use": "label-vote", "least": 0.01}], done.stderr


def test_its_options_are_checked(installed: dict[str, Path]) -> None:
    code = """
from simulator.errors import ScenarioError
from simulator.preflight.scenario import check_scenario
from simulator.scenario.load import load_scenario
for options in ("lest: 0.5", "least: 7"):
    try:
        check_scenario(load_scenario("digits", [f"defenses=[{{use: label-vote, {options}}}]"]))
    except ScenarioError as error:
        print(error)
"""
    done = run(code, installed["first"])
    assert "did you mean 'least'?" in done.stdout, done.stderr
    assert "expected least to be in [0, 1], got 7.0" in done.stdout


def test_it_passes_its_conformance_checks(installed: dict[str, Path]) -> None:
    code = """
from simulator.checks import check
print([result for result in check("defenses", "label-vote") if not result.passed])
"""
    done = run(code, installed["first"])
    assert done.stdout.strip() == "[]", done.stderr


def test_two_packages_with_one_name_are_an_error_that_names_both(installed: dict[str, Path]) -> None:
    done = run(
        "from simulator.scenario.catalog import names; names('defenses')", installed["first"], installed["second"]
    )
    assert "expected one defense to be named 'label-vote', got two" in done.stderr
    assert "label_vote.filter:LabelVote of package label-vote" in done.stderr
    assert "other_vote:OtherVote of package other-vote" in done.stderr


def test_without_it_the_name_is_unknown() -> None:
    done = run("from simulator.scenario.catalog import resolve; resolve('defenses', 'label-vote')")
    assert "expected a known defense, or module:Name, got 'label-vote'" in done.stderr
