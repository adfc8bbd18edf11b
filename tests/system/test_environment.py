"""A child process sees the modules, servers and encodings that its parent sees, whatever lies in the working folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.system.environment import child_environment, spare_local_servers

ROOT = Path(__file__).parents[2]
FIND = "import flows, defenses, simulator; print(*(module.__path__[0] for module in (flows, defenses, simulator)))"


@pytest.mark.parametrize("path", ["absent", "first", "last"])
def test_what_lies_in_the_working_folder_hides_nothing_of_ours_in_a_child(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flows.py").write_text("raise SystemExit('a stranger')")
    (tmp_path / "defenses").mkdir()
    (tmp_path / "defenses" / "__init__.py").touch()
    (tmp_path / "mine.py").touch()
    others = [folder for folder in sys.path if folder not in (str(ROOT), "")]
    here = {"absent": [], "first": [""], "last": []}[path]
    monkeypatch.setattr(sys, "path", [*here, *others, *([str(tmp_path)] if path == "last" else [])])
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "simulator.system.serving"], env=child_environment(), capture_output=True, text=True
    )
    assert "IndexError" in done.stderr  # ours was found: it asks for its arguments
    code = FIND if path == "absent" else f"{FIND}; import mine"
    found = subprocess.run([sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True)
    assert found.stdout.split() == [str(ROOT / name) for name in ("flows", "defenses", "simulator")], found.stderr


def test_a_plug_in_in_a_folder_called_defenses_is_found_beside_ours(tmp_path: Path) -> None:
    (tmp_path / "defenses").mkdir()
    (tmp_path / "defenses" / "__init__.py").touch()
    (tmp_path / "defenses" / "mine.py").write_text("class Mine: pass\n")
    (tmp_path / "defenses" / "strip.py").write_text("raise SystemExit('hides ours')")
    code = "from simulator.scenario.catalog import locate as find"
    code += "; print(find('defenses.mine:Mine'), find('defenses.strip:Strip'))"
    found = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), cwd=tmp_path, capture_output=True, text=True
    )
    assert found.stdout == "<class 'defenses.mine.Mine'> <class 'defenses.strip.Strip'>\n", found.stderr


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, None),
        ({"http_proxy": "http://p"}, "127.0.0.1,localhost,::1"),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "a.example"}, "a.example,127.0.0.1,localhost,::1"),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "a", "no_proxy": "b, localhost"}, "b,localhost,a,127.0.0.1,::1"),
        ({"http_proxy": "http://p", "no_proxy": "*"}, "*"),
    ],
)
def test_servers_of_this_machine_are_reached_without_the_users_proxy(given: dict[str, str], found: str | None) -> None:
    environment = dict(given)
    spare_local_servers(environment)
    assert environment.get("no_proxy") == environment.get("NO_PROXY") == found


@pytest.mark.parametrize(
    "variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_an_output_without_a_character_gets_another_one(variables: dict[str, str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"}
    code = "from simulator.system.environment import print_anything; print_anything(); print('a \\u2013 b')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | variables, capture_output=True, check=True, cwd=ROOT
    )
    assert done.stdout == b"a ? b\n"
    child = child_environment(clean | variables)
    done = subprocess.run([sys.executable, "-c", "print('a \\u2013 b')"], env=child, capture_output=True, check=True)
    assert done.stdout in (b"a ? b\n", "a – b\n".encode())


@pytest.mark.slow
def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    command = f"{sys.executable} -m flows.cli list | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
