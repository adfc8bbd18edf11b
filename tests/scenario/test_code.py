"""What identifies third-party code: every file of the user's that it consists of, however it is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.scenario import catalog
from simulator.scenario.code import files_named_in
from simulator.scenario.identity import code_of, code_of_use, third_party
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
