"""`ebbdoor cache`: what is kept, where, and that it is gone when cleared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from simulator.cache.entry import CachedResult
from simulator.cache.store import FolderCache


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["cache", *arguments])
    assert ended.value.code == 0
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(said(capsys, *arguments, "--format", "json"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path))
    return tmp_path / "cache"


def test_an_empty_cache_is_told_and_not_made(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json(capsys) == {"folder": str(cache), "cleared": False, "kinds": [], "entries": 0, "bytes": 0}
    assert not cache.exists()


def test_entries_and_bytes_are_told_by_kind_and_removed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FolderCache(cache)
    for seed in range(2):
        store.lookup("training", {"seed": seed}, lambda: CachedResult({"steps": 1}))
    store.lookup("readings", {}, lambda: CachedResult({}))
    size = sum(path.stat().st_size for path in cache.rglob("*.safetensors"))
    found = as_json(capsys)
    assert [(row["kind"], row["entries"]) for row in found["kinds"]] == [("readings", 1), ("training", 2)]
    assert (found["entries"], found["bytes"]) == (3, size)
    table = said(capsys)
    assert "cache" in table.splitlines()[0]
    assert ["all", "3", str(size)] in [line.split() for line in table.splitlines()]

    assert as_json(capsys, "--clear") == found | {"cleared": True}
    assert as_json(capsys)["entries"] == 0
    assert list(cache.rglob("*.safetensors")) == []
    assert said(capsys, "--clear").startswith("removed from ")
