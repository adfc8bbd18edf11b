"""What identifies third-party code: every file of the user's that it consists of, however it is imported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.errors import ScenarioError
from simulator.scenario import catalog
from simulator.scenario.code import files_named_in
from simulator.scenario.identity import changes, code_of, code_of_use, third_party
from simulator.scenario.model import Use
from simulator.scenario.overrides import scenario_of

UserFile = Callable[[str, str], None]


NETWORK = """
from torch import nn
{imports}

def net(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    {inside}
    return nn.Flatten()
"""

RELATIVE = "from ..sibling import A\nfrom . import near"

WAYS = {
    "import": ("import user_parts", "pass"),
    "from import": ("from user_parts import VALUE", "pass"),
    "inside a function": ("", "import user_parts"),
    "by name": ("import importlib; importlib.import_module('user_parts')", "pass"),
    "through another": ("import user_middle", "pass"),
    "under try": ("try:\n    import user_parts\nexcept ImportError:\n    pass", "pass"),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_edited_helper_changes_the_identity(user_file: UserFile, way: str) -> None:
    imports, inside = WAYS[way]
    user_file("user_parts.py", "VALUE = 1\n")
    user_file("user_middle.py", "from user_parts import VALUE\n")
    user_file("user_net.py", NETWORK.format(imports=imports, inside=inside))
    uses = [("networks", Use(use="user_net:net"))]
    before = third_party(uses)
    assert third_party(uses) == before
    user_file("user_parts.py", "VALUE = 2\n")
    assert third_party(uses) != before


def test_packages_relative_and_namespace_imports_count(user_file: UserFile) -> None:
    user_file("user_pack/__init__.py", "")
    user_file("user_pack/inner/__init__.py", "")
    user_file(
        "user_pack/inner/net.py", NETWORK.format(imports="from ..sibling import A\nfrom . import near", inside="pass")
    )
    user_file("user_pack/inner/near.py", "import user_space.far\n")
    user_file("user_pack/sibling.py", "A = 1\n")
    user_file("user_space/far.py", "B = 1\n")  # a namespace package: no __init__.py
    user_file("user_pack/unrelated.py", "C = 1\n")
    assert set(code_of_use("networks", Use(use="user_pack.inner.net:net"))) == {
        "user_pack/__init__.py",
        "user_pack/inner/__init__.py",
        "user_pack/inner/net.py",
        "user_pack/inner/near.py",
        "user_pack/sibling.py",
        "user_space/far.py",
    }


def test_the_standard_library_and_ours_are_left_out_and_packages_named_with_versions(user_file: UserFile) -> None:
    user_file("user_net.py", NETWORK.format(imports="import json, scipy.stats\nimport simulator.seeds", inside="pass"))
    import scipy

    assert code_of_use("networks", Use(use="user_net:net")).keys() == {"user_net.py", "package scipy"}
    assert code_of_use("networks", Use(use="user_net:net"))["package scipy"] == scipy.__version__


def test_a_loaded_module_keeps_its_digests_while_its_file_is_edited(user_file: UserFile, tmp_path: Path) -> None:
    user_file("user_net.py", NETWORK.format(imports="", inside="pass"))
    catalog.resolve("networks", "user_net:net")
    before = code_of_use("networks", Use(use="user_net:net"))
    (tmp_path / "user_net.py").write_text("edited = True\n")  # what runs here is what was imported
    assert code_of_use("networks", Use(use="user_net:net")) == before


def test_ours_have_none_and_files_that_options_name_have(tmp_path: Path) -> None:
    assert third_party([("networks", Use(use="standard-cnn")), ("sources", Use(use="digits"))]) == {}
    rules = tmp_path / "rules.yaml"
    rules.write_text("a")
    before = files_named_in({"file": str(rules), "more": [{"rate": 0.1, "mode": "x"}]})
    rules.write_text("bc")
    after = files_named_in({"file": str(rules), "more": [{"rate": 0.1, "mode": "x"}]})
    assert before.keys() == after.keys() == {f"file {rules}"}
    assert before != after


def test_a_folder_that_an_option_names_is_known_by_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "patterns"
    (folder / "more").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "more" / "b.txt").write_text("b")
    options = {"folder": str(folder), "mode": "patterns"}
    key, first = f"folder {folder}", files_named_in(options)
    assert first.keys() == {key}
    hashes = [hashlib.sha256(text).hexdigest() for text in (b"a", b"b")]
    by_hand = f"a.txt\0{hashes[0]}\nmore/b.txt\0{hashes[1]}\n"
    assert first[key] == hashlib.sha256(by_hand.encode()).hexdigest()

    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "left.pyc").write_text("by Python")
    (folder / "loop").symlink_to(folder)
    assert files_named_in(options) == first
    (folder / "more" / "b.txt").write_text("bc")
    assert files_named_in(options) != first
    (folder / "more" / "b.txt").write_text("b")
    (folder / "a.txt").rename(folder / "c.txt")
    assert files_named_in(options) != first


def test_a_folder_is_found_from_here_and_dots_and_slashes_are_no_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "patterns").mkdir()
    options = {"folder": "patterns", "separator": "/", "more": [".", "..", "~", "", "absent"]}
    assert files_named_in(options).keys() == {"folder patterns"}


def test_a_folder_without_a_digest_from_before_is_unknown_and_not_changed() -> None:
    now = {"folder patterns": "a", "mine.py": "b", "file new.txt": "c"}
    assert changes({"mine.py": "b"}, now) == {"file new.txt": "c"}
    assert changes(now, now | {"folder patterns": "d"}) == {"folder patterns": "d"}
    assert changes(now, {"mine.py": "b", "file new.txt": "c"}) == {"folder patterns": None}


def test_a_folder_that_holds_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        (tmp_path / f"{number}").write_text("x")
    monkeypatch.setattr("simulator.scenario.folders.MOST_FILES", 3)
    with pytest.raises(ScenarioError, match=r"expected folder .* to hold at most 3 files and 1024 MiB, got more; name"):
        files_named_in({"folder": str(tmp_path)})
    monkeypatch.setattr("simulator.scenario.folders.MOST_FILES", 4)
    assert len(files_named_in({"folder": str(tmp_path)})) == 1


def test_a_scenario_counts_every_arm_and_kind(user_file: UserFile, tmp_path: Path) -> None:
    (tmp_path / "base.safetensors").write_bytes(b"weights")
    user_file("user_net.py", NETWORK.format(imports="", inside="pass"))
    user_file(
        "user_gate.py",
        "from simulator.production.gate import NoGate as G\nclass Mine(G.__mro__[1]):\n"
        "    def judge(self, view):\n        raise ValueError\n",
    )
    scenario = scenario_of(
        {
            "base": {"from": str(tmp_path / "base.safetensors")},
            "arms": {"a": {"recipe.network": {"use": "user_net:net"}}, "b": {"gate": {"use": "user_gate:Mine"}}},
        }
    )
    assert code_of(scenario).keys() == {f"base {tmp_path / 'base.safetensors'}", "user_net.py", "user_gate.py"}


def test_a_long_chain_of_calls_is_read(user_file: UserFile) -> None:
    chain = "x" + ".a()" * 900
    user_file("user_parts.py", "VALUE = 1\n")
    user_file("user_net.py", NETWORK.format(imports="", inside=f"lambda x: {chain}; import user_parts"))
    assert code_of_use("networks", Use(use="user_net:net")).keys() == {"user_net.py", "user_parts.py"}


WAYS_TO_A_FOLDER = {
    "join": "sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'parts', 'inner'))",
    "above": "sys.path.append(str(Path(__file__).parent.parent / 'parts/inner'))",
    "site": "site.addsitedir(Path(__file__).parent / 'parts' / 'inner')",
    "by name": "HERE = Path(__file__).parent\nLIB = HERE / 'parts' / 'inner'\nsys.path += [str(LIB)]",
}


@pytest.mark.parametrize("way", WAYS_TO_A_FOLDER)
def test_a_helper_in_a_folder_that_a_defense_adds_to_the_path_counts(user_file: UserFile, way: str) -> None:
    lines = f"import os, site, sys\nfrom pathlib import Path\n{WAYS_TO_A_FOLDER[way]}\nfrom user_far import keep\n"
    user_file("user_plain.py", "import user_far_away\n")
    user_file("parts/inner/user_far.py", "import user_farther\nkeep = 1\n")
    user_file("parts/inner/user_farther.py", "VALUE = 1\n")
    module = "user_down.user_defense" if way == "above" else "user_defense"
    user_file(f"{module.replace('.', '/')}.py", lines)
    found = code_of_use("defenses", Use(use=f"{module}:Mine"))
    assert found.keys() == {f"{module.replace('.', '/')}.py", "user_far.py", "user_farther.py"}
    user_file("parts/inner/user_farther.py", "VALUE = 2\n")
    assert code_of_use("defenses", Use(use=f"{module}:Mine")) != found
