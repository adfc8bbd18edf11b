"""Files that cannot become a period are set aside with the reason; a folder that cannot be used is refused."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import SourceError
from simulator.world.arrivals.admission import Admission
from simulator.world.arrivals.contents import Expected, Unfit, read_contents
from simulator.world.arrivals.folder import DropFolder
from simulator.world.arrivals.roles import RowCounts

Drop = Callable[..., Path]

NAME = "20261122T180000Z.npz"
EXPECTED = Expected((1, 8, 8), classes=4, megabytes=1)


def admission(folder: Path) -> Admission:
    return Admission(
        folder=DropFolder(str(folder)), run="run", expected=EXPECTED, needed=lambda period: RowCounts(30, 20), most=100
    )


def reason(folder: Path, name: str = NAME) -> str:
    """Admit the one file in `folder` and return why it was set aside."""
    done = admission(folder).admit(9)
    assert done.last == 0
    assert done.waiting == 0
    assert [aside for aside, _ in done.set_aside] == [name]
    assert os.path.lexists(folder / "set-aside" / name)
    text = (folder / "set-aside" / f"{name}.reason.txt").read_text()
    assert text == done.set_aside[0][1] + "\n"
    assert text.startswith("expected ")
    assert ", got" in text
    assert "; " in text
    return text


def rows(*shape: int, dtype: Any = np.uint8) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"images": rows(100, 8, 8, dtype=np.float32)}, "images of '.*' to be whole numbers, got float32; convert"),
        ({"images": rows(100, 8, 8, dtype=np.uint16)}, "images of '.*' to be uint8 in 0..255, got uint16; convert"),
        ({"images": rows(100, 8, 9)}, r"to be \(N, 8, 8\) or \(N, 8, 8, 1\), as in the source, got \(100, 8, 9\)"),
        ({"images": rows(100, 8, 8, 3)}, r"as in the source, got \(100, 8, 8, 3\); resize or rearrange"),
        ({"images": rows(100, 1, 8, 8)}, r"as in the source, got \(100, 1, 8, 8\)"),
        ({"images": rows(100, 64)}, r"as in the source, got \(100, 64\)"),
        ({"images": rows(0, 8, 8), "labels": rows(0, dtype=np.int64)}, r"at least 100 rows .*, got 0; gather"),
        ({"labels": rows(99, dtype=np.int64)}, r"labels of '.*' to be \(100,\), one for each image, got \(99,\)"),
        ({"labels": rows(100, 1, dtype=np.int64)}, r"one for each image, got \(100, 1\); complete them"),
        ({"labels": rows(100, dtype=np.float64)}, "labels of '.*' to be whole numbers, got float64"),
        ({"labels": np.full(100, "1")}, "labels of '.*' to be whole numbers, got <U1"),
        ({"labels": np.full(100, 4)}, r"labels of '.*' to be in \[0, 3\], got 4; number the classes as the source"),
        ({"labels": np.full(100, -1)}, r"labels of '.*' to be in \[0, 3\], got -1"),
        ({"labels": np.full(100, 2**64 - 1, np.uint64)}, r"in \[0, 3\], got 18446744073709551615"),
        ({"labels": np.array([object()] * 100)}, "labels of '.*' to be whole numbers, got object"),
        ({"time": rows(100)}, "to hold the arrays images and labels, got images, labels, time; save these two alone"),
        (
            {"images": rows(99, 8, 8), "labels": rows(99, dtype=np.int64)},
            r"at least 100 rows \(30 to train on, 20 for the defender, 50 to test on\), got 99; gather more rows in a "
            "file, or lower stream.batch or trusted.images",
        ),
        (
            {"images": rows(15625, 8, 8), "labels": rows(15625, dtype=np.uint8)},
            "the arrays of '.*' to hold at most 1 megabytes, got 1.0; write smaller files, or raise",
        ),
    ],
)
def test_unfit_arrays_are_set_aside(drop: Drop, arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Unfit, match=sentence):
        raise Unfit(reason(drop(NAME, **arrays).parent))


def npy(array: np.ndarray[Any, Any], shape: tuple[int, ...] | None = None, version: int = 1) -> bytes:
    """An array as in an npz archive, with a header that may lie."""
    file = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape if shape is None else shape}
    np.lib.format.write_array_header_1_0(file, header)
    data = bytearray(file.getvalue() + array.tobytes())
    data[6] = version
    return bytes(data)


def archive(images: bytes, labels: bytes, **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as packed:
        packed.writestr("images.npy", images)
        packed.writestr("labels.npy", labels)
    return file.getvalue()


IMAGES, LABELS = npy(rows(100, 8, 8)), npy(rows(100, dtype=np.int64))
GOOD = archive(IMAGES, LABELS)


def entries(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name in names:
            packed.writestr(name, LABELS)
    return file.getvalue()


def changed(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "to be a whole npz archive, got 0 bytes that do not end like one; write it with numpy.savez under"),
        (b"no archive at all, but long enough", "got 34 bytes that do not end like one"),
        (IMAGES, "to be a whole npz archive"),
        (GOOD[:-100], "to be a whole npz archive"),
        (GOOD + b"\n", "to be a whole npz archive"),
        (GOOD[-22:], "to be an npz archive, got BadZipFile"),
        (changed(GOOD, 0, b"XX"), "to be an npz archive, got BadZipFile: Bad magic number"),
        (changed(GOOD, 200, b"\1"), "to be an npz archive, got BadZipFile: Bad CRC-32"),
        (archive(b"", LABELS), "to be an npz archive, got ValueError"),
        (archive(b"\x93NUMPY\1\0\xff\xff{", LABELS), "to be an npz archive, got ValueError: EOF"),
        (archive(npy(rows(100, 8, 8), version=3), LABELS), r"an array of the format's version \(3, 0\)"),
        (archive(npy(rows(9), (10**15, 8, 8)), LABELS), r"hold 64000000000000000 bytes for the shape .*, got 9; write"),
        (archive(npy(rows(9), (-1, 8, 8)), LABELS), "to hold -64 bytes"),
        (archive(IMAGES + b"more", LABELS), "to hold 6400 bytes for the shape .*, got 6404"),
        (archive(IMAGES, LABELS, compression=zipfile.ZIP_BZIP2), "an encrypted entry or another compression"),
        (entries("images.npy", "imagez.npy", "labels.npy").replace(b"imagez", b"images"), "got images, images, labels"),
        (entries("labels.npy"), "to hold the arrays images and labels, got labels;"),
        (entries("../images.npy", "labels.npy"), r"got \.\./images, labels"),
        (entries(), "to hold the arrays images and labels, got none;"),
        (entries(*map(str, range(100))), "got a longer table of contents; drop the rest"),
    ],
    ids=[
        "empty",
        "text",
        "a lone array",
        "cut off",
        "a byte more",
        "its end alone",
        "wrong magic number",
        "a changed byte",
        "an empty array",
        "a cut array header",
        "another array version",
        "a huge shape",
        "a negative shape",
        "more data than the shape",
        "another compression",
        "images twice",
        "labels alone",
        "a path that leads out",
        "no entry",
        "too many entries",
    ],
)
def test_what_is_no_archive_is_set_aside(tmp_path: Path, data: bytes, sentence: str) -> None:
    (tmp_path / NAME).write_bytes(data)
    with pytest.raises(Unfit, match=sentence):
        raise Unfit(reason(tmp_path))


def test_the_archive_that_the_damaged_ones_come_from_is_fine(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(GOOD)
    assert admission(tmp_path).admit(9).last == 1


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = archive(bytes(120_000_000), LABELS, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    (tmp_path / NAME).write_bytes(bomb)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    expected = Expected((1, 8, 8), classes=4, megabytes=100)
    assert len(bomb) < expected.bytes
    with pytest.raises(Unfit, match=r"the arrays of '.*' to hold at most 100 megabytes, got 120\.0"):
        read_contents(tmp_path / NAME, expected)


def test_a_bomb_that_lies_about_its_size_is_not_unpacked_beyond_it(tmp_path: Path) -> None:
    data = archive(npy(rows(100_000, 8, 8)), LABELS, compression=zipfile.ZIP_DEFLATED)
    true, told = (size.to_bytes(4, "little") for size in (len(npy(rows(100_000, 8, 8))), len(IMAGES)))
    assert data.count(true) == 2
    (tmp_path / NAME).write_bytes(data.replace(true, told))
    with pytest.raises(Unfit, match=r"to hold 6400000 bytes for the shape \(100000, 8, 8\), got 6400"):
        read_contents(tmp_path / NAME, EXPECTED)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(10**12)
    assert "the file '20261122T180000Z.npz' to hold at most 1 megabytes, got 1000000.0;" in reason(tmp_path)


@pytest.mark.parametrize("kind", ["a link", "a folder", "a special file"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").write_bytes(GOOD)
    if kind == "a link":
        (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    elif kind == "a folder":
        (tmp_path / NAME).mkdir()
    else:
        os.mkfifo(tmp_path / NAME)
    assert f"to be a regular file, got {kind}; put the file itself there" in reason(tmp_path)
    assert (tmp_path / "elsewhere").read_bytes() == GOOD


@pytest.mark.parametrize(
    "name", ["noon.npz", "20261122T180000.npz", "20261322T180000Z.npz", "20261122T180000Z-a b.npz"]
)
def test_a_name_that_is_no_time_is_set_aside(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GOOD)
    assert f"expected '{name}' to be named by a time in UTC such as 20261122T180000Z.npz" in reason(tmp_path, name)


def test_a_missing_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"stream\.arrivals\.folder to be a folder, got no such folder at .*/none"):
        admission(tmp_path / "none").admit(9)
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match=r"to be a folder, got something else at .*/file; make it"):
        DropFolder(str(tmp_path / "file")).accepted()


def test_a_disk_that_refuses_raises_and_loses_nothing(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = drop(NAME).parent

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", full)
        with pytest.raises(SourceError, match=r"to be readable and writable, got .*No space left on device; correct"):
            admission(folder).admit(9)
    assert admission(folder).admit(9).last == 1


@pytest.mark.parametrize("name", [".admission.lock", ".owner.json.partial", "accepted", "set-aside"])
def test_links_in_our_places_are_not_followed(drop: Drop, tmp_path: Path, name: str) -> None:
    folder, elsewhere = drop(NAME).parent, tmp_path / "elsewhere"
    if name[0] == ".":
        elsewhere.write_text("precious")
    else:
        elsewhere.mkdir()
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(SourceError, match=r"expected .*drop.* to be .*, got .*link.*; "):
        admission(folder).admit(9)
    assert elsewhere.read_text() == "precious" if name[0] == "." else list(elsewhere.iterdir()) == []
    assert (folder / NAME).exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"run"'])
def test_a_damaged_owner_raises(drop: Drop, text: str) -> None:
    folder = drop(NAME).parent
    (folder / "owner.json").write_text(text)
    with pytest.raises(SourceError, match=r"owner\.json to name the run that the folder belongs to, got "):
        admission(folder).admit(9)


def test_accepted_files_that_were_taken_away_raise(drop: Drop) -> None:
    for number in range(3):
        folder = drop(f"2026112{number}T180000Z.npz", seed=number).parent
    admission(folder).admit(9)
    first, second, third = sorted((folder / "accepted").iterdir())
    third.rename(folder / "third")
    with pytest.raises(SourceError, match="to hold the accepted files of 3 committed periods, got 2; put the others"):
        admission(folder).admit(9, committed=3)
    second.rename(third)
    with pytest.raises(SourceError, match="to hold one file for period 2, got none; put it back as it was"):
        admission(folder).admit(9)
    first.rename(third.with_name(third.name.replace("0003-", "0004-")))
    third.rename(third.with_name(third.name.replace("0003-", "0001-")))
    os.link(folder / "third", first)
    with pytest.raises(SourceError, match="to hold one file for period 1, got two; put it back as it was"):
        admission(folder).admit(9)
