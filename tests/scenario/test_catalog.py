"""From a name and options to a plug-in, and every way in which that can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.errors import PluginError
from simulator.scenario import catalog

MODULE = '''
from defenses.base import Filter


class Kept(Filter):
    """Keeps its options, among them some whose names a pydantic model has methods by."""

    def __init__(
        self, *, copy: int = 1, schema: float = 0.5, model_name: str = "m",
        rows: tuple[int, ...] = (), by: dict[int, float] = {},
    ):
        self.copy, self.schema, self.model_name, self.rows, self.by = copy, schema, model_name, rows, by

    def filter(self, context): ...


class Outer:
    Inner = Kept


class Needs(Kept):
    def __init__(self, *, share: float):
        self.share = share


class Breaks(Kept):
    def __init__(self, *, share: float = 0.1):
        raise KeyError("share")


class Unreadable(Kept):
    def __init__(self, *, share: "Nowhere" = 0.1):
        self.share = share


def make(*, share: float = 0.1) -> Filter:
    return Kept(schema=share)
'''


@pytest.fixture(autouse=True)
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own file in the working directory."""
    (tmp_path / "users_own_file.py").write_text(MODULE, "utf-8")
    (tmp_path / "broken_file.py").write_text("def f(:\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(name: str, given: dict[str, Any] | None = None) -> Any:
    return catalog.build("defenses", f"users_own_file:{name}", given)


def test_options_arrive_with_their_types() -> None:
    kept = build("Kept", {"copy": 3, "schema": 1, "model_name": "x", "rows": [1, 2], "by": {"4": 1}})
    assert (kept.copy, kept.schema, kept.model_name, kept.rows, kept.by) == (3, 1.0, "x", (1, 2), {4: 1.0})
    assert type(kept.schema) is float


def test_options_left_out_keep_their_defaults() -> None:
    kept = build("Kept")
    assert (kept.copy, kept.schema, kept.rows) == (1, 0.5, ())


def test_what_json_cannot_hold_is_taken_from_python() -> None:
    assert set(build("Kept", {"rows": {3, 4}}).rows) == {3, 4}


def test_member_may_be_nested_or_a_function() -> None:
    assert type(build("Outer.Inner")).__name__ == "Kept"
    assert build("make", {"share": 0.25}).schema == 0.25


def test_schema_is_the_signature() -> None:
    member = catalog.resolve("defenses", "users_own_file:Kept")
    assert catalog.options(member)["schema"] == (float, 0.5)
    needs = catalog.resolve("defenses", "users_own_file:Needs")
    assert catalog.options(needs) == {"share": (float, ...)}


def test_names_are_listed_in_order() -> None:
    for kind in catalog.KINDS:
        found = catalog.names(kind)
        assert list(found) == sorted(found)
        assert all(":" in place for place in found.values())


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("Kept", {"copy": "3"}, "expected copy to be a whole number, got '3'"),
        ("Kept", {"copy": True}, "expected copy to be a whole number, got true"),
        ("Kept", {"copy": None}, "expected copy to be a whole number, got null"),
        ("Kept", {"schema": "1e-3"}, "expected schema to be a number, got '1e-3'"),
        ("Kept", {"rows": 3}, "expected rows to be a list, got 3"),
        ("Kept", {"rows": [1, "x"]}, "expected rows.1 to be a whole number, got 'x'"),
        ("Kept", {"by": {"x": 1}}, "expected a name in by to be a whole number, got 'x'"),
        ("Kept", {"cpy": 3}, "expected an option it knows, got 'cpy'; did you mean 'copy'?"),
        ("Kept", {"zzz": 3}, "got 'zzz'; it takes copy, schema, model_name, rows, by"),
        ("Needs", {}, "expected share to be given, got nothing; add it"),
        ("Breaks", {}, "expected its constructor to work, got KeyError: 'share' ("),
        ("Unreadable", {}, "annotations can be read, got name 'Nowhere' is not defined"),
        ("Kpt", {}, "to hold 'Kpt', got none; did you mean 'Kept'?"),
        ("Outer.Iner", {}, "to hold 'Outer.Iner', got none; did you mean 'Inner'?"),
        ("Outer", {}, "to extend defenses.base.Defense, got Outer; name a defense"),
        ("__file__", {}, "to be a class, got str; name the class itself"),
    ],
)
def test_bad_plugin_or_option_raises(name: str, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PluginError) as caught:
        build(name, given)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "use", "sentence"),
    [
        ("defenses", "broken_file:F", "to be importable, got SyntaxError"),
        ("defenses", "users_own_fil:Kept", "got ModuleNotFoundError: No module named 'users_own_fil'"),
        ("defenses", "file.py:", "to be module:Name, got other text"),
        ("defenses", "stripp", "got 'stripp'; did you mean 'strip'"),
        ("defense", "strip", "expected a kind of plug-in, got 'defense'; did you mean 'defenses'?"),
        ("zzz", "strip", "expected a kind of plug-in, got 'zzz'; kinds are sources, drifts"),
    ],
)
def test_bad_name_raises(kind: str, use: str, sentence: str) -> None:
    with pytest.raises(PluginError) as caught:
        catalog.resolve(kind, use)
    assert sentence in str(caught.value)
