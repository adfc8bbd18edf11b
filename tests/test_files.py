"""A file is whole or not there: every writer goes one way."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import StoreUnavailableError
from simulator.system.files import replace_file, write_whole

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "content",
    ["café\n", "café\n".encode(), lambda path: path.write_text("café\n", "utf-8")],
    ids=["text", "bytes", "function"],
)
def test_a_file_is_written_and_replaced_and_nothing_else_stays(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "deep" / "file.txt"
    for _ in range(2):
        assert write_whole(path, content) == path
        assert path.read_bytes() == b"caf\xc3\xa9\n"
    assert [found.name for found in path.parent.iterdir()] == ["file.txt"]


def test_a_writer_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = replace_file(tmp_path / "file.txt", "before")

    def fails(partial: Path) -> None:
        partial.write_text("half")
        raise KeyError("a mistake")

    with pytest.raises(KeyError):
        replace_file(path, fails)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_meets_the_whole_file_or_none(tmp_path: Path) -> None:
    path, seen = tmp_path / "file.txt", []

    def watched(partial: Path) -> None:
        partial.write_text("half")
        seen.append((partial.parent, path.exists()))

    replace_file(path, watched)
    assert seen == [(tmp_path, False)]


def test_what_the_system_refuses_is_told_by_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match=r"expected .*report\.html to be writable, got .*; free space"):
        write_whole(tmp_path / "file" / "report.html", "text")
    with pytest.raises(NotADirectoryError):
        replace_file(tmp_path / "file" / "report.html", "text")


def test_text_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "part").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        replace_file(tmp_path / "file", "text", partial=tmp_path / "part")
    assert (tmp_path / "precious").read_text() == "kept"


def test_others_may_read_what_the_user_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        mode = stat.S_IMODE(replace_file(tmp_path / "file", "text").stat().st_mode)
    finally:
        os.umask(before)
    assert mode == 0o640


def test_only_one_file_waits_for_the_disk() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for package in ("simulator", "flows", "defenses")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("fsync", "mkstemp")
    }
    assert found == {"simulator/system/files.py"}
