"""What things are called in MLflow stands in one file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = Path("simulator/production/registry/mlflow")
FILES = [path.relative_to(ROOT) for package in ("simulator", "flows") for path in (ROOT / package).rglob("*.py")]

#: names that are everyday words, or keys and files of other formats too: outside of MLflow they mean something else
SHARED = {
    "_seconds", "actions", "arm", "candidate/", "committed", "control", "ended", "gate", "head", "head.json", "line",
    "ordinal", "period", "periods", "run", "scenario", "scenario_digest", "seed", "source_digest", "status", "twin",
    "version", "weights",
}  # fmt: skip
#: keys of a scenario, of the link that MLflow asks for, of the store ids that `register` returns, and of the files and
#: the description of somebody's own model
OTHERS = {
    ("runs", "seed"), ("versions", "seed"), ("stored", "version"), ("registry", "model_id"), ("models", "version"),
    ("models", "weights"), ("model_reader", "weights"),
}  # fmt: skip


def names() -> set[str]:
    """Every name in `tags`, also those that are assigned several at a time."""
    tree = ast.parse((ROOT / FOLDER / "tags.py").read_text("utf-8"))
    assigned = [node.value for node in tree.body if isinstance(node, ast.Assign) and "_CUT" not in ast.unparse(node)]
    return {
        constant.value
        for value in assigned
        for constant in ast.walk(value)
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
    }


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """The texts in a file's code, with their lines; not its docstrings, which are sentences."""
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def holds(text: str, name: str) -> bool:
    """Whether a text is the name, or begins with it where the name is the beginning of keys."""
    return text == name or (name[-1] in "./_-" and text.startswith(name) and " " not in text)


def test_the_names_are_found() -> None:
    assert {"run", "period.", "drift/p_value", "artifacts/weights.safetensors", "mlflow.parentRunId"} <= names()
    assert names() >= SHARED


@pytest.mark.parametrize("path", [path for path in FILES if path.is_relative_to(FOLDER)], ids=lambda path: path.stem)
def test_no_file_of_the_mlflow_stores_spells_a_name_itself(path: Path) -> None:
    if path.name == "tags.py":
        return
    found = {(path.stem, text) for _, text in literals(path) for name in names() if holds(text, name)}
    assert found <= OTHERS


def test_nothing_else_spells_a_name_that_is_mlflows_alone() -> None:
    mine = names() - SHARED
    found = [
        f"{path}:{line}: {text}"
        for path in FILES
        if not path.is_relative_to(FOLDER)
        for line, text in literals(path)
        for name in mine
        if holds(text, name)
    ]
    assert found == []
