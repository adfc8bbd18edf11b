"""Large archives are unpacked into files that all processes map; small ones, and odd disks, stay in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import SourceError
from simulator.world.sources import archive, unpacked
from simulator.world.sources.npz import Npz

#: loads an archive and prints how often its arrays' size it needed at most, beyond what was there before
MEASURED = """
import resource, sys
from simulator.world.sources.npz import Npz
import torch
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = most()
data = Npz(path=sys.argv[1]).load()
print((most() - before) / (data.images.nbytes + data.test_images.nbytes))
"""


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every archive counts as large; its files lie in a workspace of their own. Blocks hold a few rows."""
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setattr(unpacked, "SMALL", 0)
    monkeypatch.setattr(archive, "BLOCK", 500)
    return tmp_path / "workspace" / "cache" / "data"


def made(path: Path, seed: int = 0, **arrays: Any) -> tuple[str, np.ndarray[Any, Any]]:
    images = np.random.default_rng(seed).integers(0, 256, (50, 8, 9, 3), np.uint8)
    np.savez(path, **{"images": images, "labels": np.arange(50) % 4, **arrays})
    return str(path), images


def test_mapped_rows_are_those_in_memory(mapped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    turned = np.asfortranarray(made(tmp_path / "any.npz")[1])
    test = {"test_images": np.full((7, 8, 9, 3), 5, np.uint8), "test_labels": np.arange(7) % 4}
    for name, arrays in (("split", {}), ("own", test), ("fortran", {**test, "images": turned})):
        path, images = made(tmp_path / f"{name}.npz", **arrays)
        found = Npz(path=path).load()
        with monkeypatch.context() as patched:
            patched.setattr(unpacked, "SMALL", 10**9)
            plain = Npz(path=path).load()
        assert (_is_mapped(found.images), _is_mapped(plain.images)) == (True, False)
        assert not found.images.flags.writeable
        assert (found.digest, found.labels.tolist()) == (plain.digest, plain.labels.tolist())
        assert (found.images == plain.images).all()
        assert (found.test_images == plain.test_images).all()
        if "test_images" in arrays:
            assert (found.images == np.moveaxis(images, 3, 1)).all()


def _is_mapped(images: Any) -> bool:
    return images is not None and (isinstance(images, np.memmap) or _is_mapped(getattr(images, "base", None)))


def test_files_are_made_once_and_again_when_the_archive_has_changed(mapped: Path, tmp_path: Path) -> None:
    path, _ = made(tmp_path / "a.npz")
    first = Npz(path=path).load()
    kept = {file: file.stat().st_mtime_ns for file in mapped.glob("*.npy")}
    assert len(kept) == 2
    Npz(path=path).load()
    assert {file: file.stat().st_mtime_ns for file in mapped.glob("*.npy")} == kept
    status = os.stat(path)
    made(tmp_path / "a.npz", seed=1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the same size and time, as a tool that keeps times
    second = Npz(path=path).load()
    assert second.digest != first.digest
    assert len(list(mapped.glob("*.npy"))) == 2  # those of the archive as it was are gone
    assert (first.images[0] != second.images[0]).any()  # and who had mapped them still has them


def test_what_a_kill_left_is_removed_and_what_another_process_has_just_made_is_kept(
    mapped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = made(tmp_path / "a.npz")
    Npz(path=path).load()
    (train, test) = sorted(mapped.glob("*.npy"), key=lambda file: "test" in file.name)
    kept = train.stat().st_ino
    test.unlink()  # as before the other process renames its second file
    for name, age in ((".x.1.rows", 2 * 86400), (".y.1.rows", 0)):
        (mapped / name).touch()
        os.utime(mapped / name, (time.time() - age,) * 2)
    removed = []
    monkeypatch.setattr(Path, "unlink", lambda self, **_: removed.append(self))
    Npz(path=path).load()
    assert mapped / ".x.1.rows" in removed
    assert not {train, test, mapped / ".y.1.rows"} & set(removed)
    assert train.stat().st_ino != kept  # made anew, in one step


def test_a_torn_file_is_made_again(mapped: Path, tmp_path: Path) -> None:
    path, _ = made(tmp_path / "a.npz")
    digest = Npz(path=path).load().digest
    for file in mapped.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])
    assert Npz(path=path).load().digest == digest


def test_where_nothing_can_be_written_rows_are_in_memory(
    mapped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path / "file"))
    path, _ = made(tmp_path / "a.npz")
    assert len(Npz(path=path).load().images) == 40


def test_a_damaged_archive_leaves_no_file(mapped: Path, tmp_path: Path) -> None:
    path, images = made(tmp_path / "a.npz")
    raw = bytearray(Path(path).read_bytes())
    raw[raw.index(images[20].tobytes())] ^= 1
    Path(path).write_bytes(raw)
    with pytest.raises(SourceError, match="to be an npz archive of plain arrays, got Bad CRC-32"):
        Npz(path=path).load()
    assert list(mapped.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "stated", "expected"),
    [
        (np.array([0.0, 0.5, 1.0]), (0, 1), [0, 128, 255]),
        (np.array([-1.0, 0.0, 1.0]), (-1, 1), [0, 128, 255]),
        (np.array([0, 257, 65535], np.uint16), (0, 65535), [0, 1, 255]),
        (np.array([0, 1, 1], np.uint8), (0, 1), [0, 255, 255]),
    ],
)
def test_a_stated_range_becomes_bytes(tmp_path: Path, images: Any, stated: Any, expected: list[int]) -> None:
    rows = np.tile(images[:, None, None], (4, 8, 8))
    path, _ = made(tmp_path / "a.npz", images=rows, labels=np.arange(12) % 2)
    data = Npz(path=path, range=stated, test_share=0.25).load()
    assert sorted({*np.unique(data.images).tolist(), *np.unique(data.test_images).tolist()}) == sorted(set(expected))
    assert data.images.dtype == np.uint8


@pytest.mark.parametrize("wrong", [255.0, -0.1, np.nan])
def test_values_outside_the_stated_range_raise(tmp_path: Path, wrong: float) -> None:
    rows = np.zeros((12, 8, 8))
    rows[3, 3, 3] = wrong
    path, _ = made(tmp_path / "a.npz", images=rows, labels=np.arange(12) % 2)
    with pytest.raises(SourceError, match=r"in the stated range 0 to 1, got values from .*; correct source.range"):
        Npz(path=path, range=(0, 1)).load()


def test_a_range_that_does_not_rise_raises() -> None:
    with pytest.raises(ValueError, match=r"expected range to run from a number to a larger one, got \[1, 1\]"):
        Npz(path="x", range=(1, 1))


@pytest.mark.slow
def test_loading_takes_at_most_one_and_a_half_times_the_arrays(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (4000, 96, 96, 3), np.uint8)
    np.savez(tmp_path / "big.npz", images=rows, labels=np.arange(4000) % 10)
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "big.npz")]
    environment = {**os.environ, "EBBDOOR_WORKSPACE": str(tmp_path / "workspace")}
    for _ in range(2):  # when it is unpacked, and when it is there
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert float(done.stdout) <= 1.5
