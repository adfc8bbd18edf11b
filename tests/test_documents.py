"""What the documents say is so: blocks run, commands exist, files are there, pages are current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from simulator.observer.measures_page import page
from simulator.preflight.scenario import check_scenario
from simulator.scenario.overrides import scenario_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(program: str) -> list[str]:
    """The words after `program` where it begins a line or a piece of code."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    return sorted({found for text in texts for found in re.findall(rf"(?m)(?:^|`){program} ([a-z][a-z-]*)", text)})


def test_the_defense_of_the_readme_is_the_example_file() -> None:
    example = (ROOT / "examples" / "defenses" / "refit_head.py").read_text(encoding="utf-8")
    assert blocks("python")[0].strip() in example


def test_the_defense_of_the_readme_passes_the_checks() -> None:
    command = [sys.executable, "-m", "flows.cli", "check", "refit_head:RefitHead", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT / "examples" / "defenses", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_scenario_of_the_readme_is_one() -> None:
    check_scenario(scenario_of(yaml.safe_load(blocks("yaml")[0])), data=True)


def test_the_scenario_of_the_page_on_own_data_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
    (program,), (scenario,) = (
        re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) for language in ("python", "yaml")
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    check_scenario(scenario_of(yaml.safe_load(scenario)), data=True)


@pytest.mark.parametrize("command", commands("ebbdoor"))
def test_every_command_that_is_named_exists(command: str) -> None:
    from typer.main import get_command

    from flows.cli import app

    assert command in get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("target", commands("make"))
def test_every_make_target_that_is_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_page_of_measures_is_current() -> None:
    assert (ROOT / "docs" / "measures.md").read_text(encoding="utf-8") == page()


def test_contributing_takes_under_200_words() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split()) < 200
