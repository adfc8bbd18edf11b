"""Admission of waiting files as periods: in the order of time, exactly once, also after a kill and concurrently."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import SourceError
from simulator.world.arrivals.admission import Admission, Admitted
from simulator.world.arrivals.contents import Expected
from simulator.world.arrivals.folder import DropFolder
from simulator.world.arrivals.names import Accepted, Stamp, accepted_file, stamp_of
from simulator.world.arrivals.roles import RowCounts
from simulator.world.sources.assemble import digest_of_arrays

Drop = Callable[..., Path]

FIRST, SECOND, THIRD = (f"20261122T{hour}0000Z" for hour in (18, 19, 20))


def admission(folder: Path, run: str = "run", most: int = 100) -> Admission:
    """Files of at least 100 rows: 30 to train on, 20 for the defender, 50 to test on."""
    expected = Expected((1, 8, 8), classes=4, megabytes=1)
    return Admission(
        folder=DropFolder(str(folder)), run=run, expected=expected, needed=lambda period: RowCounts(30, 20), most=most
    )


def stamps(folder: Path) -> list[str]:
    return [str(file.stamp) for file in DropFolder(str(folder)).accepted()]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but those that begin with a dot."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("name", "stamp"),
    [
        ("20261122T180000Z.npz", Stamp("20261122T180000Z")),
        ("2026-11-22T18-00-00Z.npz", Stamp("20261122T180000Z")),
        ("20261122T180000Z-camera2.npz", Stamp("20261122T180000Z", "-camera2")),
        ("2026-11-22T18-00-00Z-a.b_c-d.npz", Stamp("20261122T180000Z", "-a.b_c-d")),
        ("20261322T180000Z.npz", None),
        ("20260230T180000Z.npz", None),
        ("20261122T250000Z.npz", None),
        ("20261122T180000.npz", None),
        ("20261122T180000Z.npy", None),
        ("2026-11-22T180000Z.npz", None),
        ("20261122T180000Z-.npz", None),
        ("20261122T180000Z- .npz", None),
        ("٢٠٢٦١١٢٢T180000Z.npz", None),
        ("today.npz", None),
    ],
)
def test_a_stamp_is_a_moment_in_utc(name: str, stamp: Stamp | None) -> None:
    assert stamp_of(name) == stamp


def test_an_accepted_name_says_period_stamp_and_contents() -> None:
    file = Accepted(12, Stamp("20261122T180000Z", "-camera2"), "ab" * 32)
    assert file.name == f"0012-20261122T180000Z-camera2-{'ab' * 32}.npz"
    assert accepted_file(file.name) == file
    plain = Accepted(12345, Stamp("20261122T180000Z"), "0" * 64)
    assert accepted_file(plain.name) == plain
    assert accepted_file("0001-20261122T180000Z.npz") is None


def test_files_become_periods_in_the_order_of_their_stamps(drop: Drop) -> None:
    for hour in (12, 2, 7):
        folder = drop(f"20261122T{hour:02d}0000Z.npz", seed=hour).parent
    drop("2026-11-22T03-00-00Z-b.npz", seed=3)
    assert admission(folder).admit(9) == Admitted(4)
    assert stamps(folder) == ["20261122T020000Z", "20261122T030000Z-b", "20261122T070000Z", "20261122T120000Z"]
    assert DropFolder(str(folder)).waiting() == []
    assert admission(folder).admit(9) == Admitted(4)
    drop("20261123T000000Z.npz", seed=99)
    assert admission(folder).admit(9) == Admitted(5)


def test_an_accepted_file_is_named_by_the_digest_of_its_rows(drop: Drop) -> None:
    images = np.random.default_rng(5).integers(0, 256, (100, 8, 8), np.uint8)
    folder = drop(f"{FIRST}.npz", images=images, labels=np.arange(100, dtype=np.uint8) % 4).parent
    admission(folder).admit(9)
    expected = digest_of_arrays(images.reshape(100, 1, 8, 8), np.arange(100) % 4)
    assert [path.name for path in (folder / "accepted").iterdir()] == [f"0001-{FIRST}-{expected}.npz"]


def test_the_same_rows_packed_otherwise_are_a_duplicate(drop: Drop) -> None:
    folder = drop(f"{FIRST}.npz").parent
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8), np.uint8)
    with (folder / f"{SECOND}-again.npz").open("wb") as file:
        np.savez(file, labels=(np.arange(100) % 4).astype(">i2"), images=np.asfortranarray(images[..., None]))
    done = admission(folder).admit(9)
    reason = (
        f"expected '{SECOND}-again.npz' to hold new rows, got the images and labels of period 1 ({FIRST}) again; "
        "leave it out"
    )
    assert done == Admitted(1, ((f"{SECOND}-again.npz", reason),))
    assert (folder / "set-aside" / f"{SECOND}-again.npz.reason.txt").read_text() == reason + "\n"


def test_a_file_that_is_not_later_is_set_aside_and_shifts_no_number(drop: Drop) -> None:
    folder = drop(f"{SECOND}.npz", seed=2).parent
    admission(folder).admit(9)
    for number, name in enumerate((FIRST, SECOND, THIRD), start=3):
        drop(f"{name}.npz", seed=number)
    done = admission(folder).admit(9)
    assert done.last == 2
    assert stamps(folder) == [SECOND, THIRD]
    assert [name for name, _ in done.set_aside] == [f"{FIRST}.npz", f"{SECOND}.npz"]
    told = f"expected '{FIRST}.npz' to be later than {SECOND}, which period 1 has, got {FIRST}; periods are in the"
    assert done.set_aside[0][1].startswith(told)


def test_nothing_set_aside_is_overwritten(drop: Drop) -> None:
    for seed in (1, 2, 3):
        folder = drop("noon.npz", seed=seed).parent
        admission(folder).admit(9)
    aside = folder / "set-aside"
    names = ["noon.2.npz", "noon.3.npz", "noon.npz"]
    assert sorted(path.name for path in aside.iterdir()) == sorted([*names, *(f"{name}.reason.txt" for name in names)])
    assert len({(aside / name).read_bytes() for name in names}) == 3


def test_a_name_of_any_bytes_is_set_aside(drop: Drop) -> None:
    folder = drop(f"{FIRST}.npz").parent
    long, odd = "x" * 240 + ".npz", os.fsdecode(b"\xff\n.npz")
    for name in (long, odd):
        (folder / name).write_bytes(b"")
    done = admission(folder).admit(9)
    assert done.last == 1
    assert sorted(name for name, _ in done.set_aside) == ["\\udcff\\n.npz", long]
    aside = folder / "set-aside"
    assert len([path for path in aside.iterdir() if path.name.endswith(".reason.txt")]) == 2
    assert os.path.lexists(aside / odd)


def test_the_folder_itself_may_be_a_link(drop: Drop, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(drop(f"{FIRST}.npz").parent)
    assert admission(link).admit(9) == Admitted(1)
    assert stamps(link) == stamps(tmp_path / "drop") == [FIRST]


def test_other_names_are_left_alone(drop: Drop) -> None:
    folder = drop(f"{FIRST}.npz").parent
    others = ["notes.txt", f"{SECOND}.npz.part", f".{SECOND}.npz"]
    for name in others:
        (folder / name).write_bytes(b"half")
    assert admission(folder).admit(9) == Admitted(1)
    assert all((folder / name).read_bytes() == b"half" for name in others)


@pytest.mark.parametrize("step", ["accept", "set_aside"])
def test_a_file_that_its_writer_takes_back_is_passed_over(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = drop(f"{FIRST}.npz" if step == "accept" else "noon.npz").parent
    drop(f"{SECOND}.npz", seed=1)
    real = getattr(DropFolder, step)

    def too_late(where: DropFolder, name: str, then: Any) -> None:
        if name != f"{SECOND}.npz":
            (folder / name).unlink()
        real(where, name, then)

    monkeypatch.setattr(DropFolder, step, too_late)
    assert admission(folder).admit(9) == Admitted(1)
    assert stamps(folder) == [SECOND]


def test_files_beyond_the_last_period_go_on_waiting(drop: Drop) -> None:
    for hour in range(4):
        folder = drop(f"20261122T{hour:02d}0000Z.npz", seed=hour).parent
    done = admission(folder).admit(3)
    assert done == Admitted(3, waiting=1, note="1 files wait: all 3 periods of the run have arrived")
    assert admission(folder).admit(4) == Admitted(4)


def test_only_so_many_files_are_looked_at_at_once(drop: Drop) -> None:
    for hour in range(5):
        folder = drop(f"20261122T{hour:02d}0000Z.npz", seed=hour).parent
    drop("noon.npz")
    done = admission(folder, most=3).admit(9)
    told = "6 files waited, more than stream.arrivals.waiting: looked at the first 3"
    assert done == Admitted(3, waiting=3, note=told)
    assert stamps(folder) == [f"20261122T{hour:02d}0000Z" for hour in range(3)]
    done = admission(folder, most=3).admit(9)
    assert (done.last, [name for name, _ in done.set_aside], done.note) == (5, ["noon.npz"], None)


def test_a_folder_belongs_to_the_first_run_that_admits(drop: Drop) -> None:
    folder = drop(f"{FIRST}.npz").parent
    admission(folder, "mine").admit(9)
    drop(f"{SECOND}.npz", seed=1)
    with pytest.raises(SourceError, match=r"to belong to run 'yours', got run 'mine'; give every run a drop folder"):
        admission(folder, "yours").admit(9)
    assert stamps(folder) == [FIRST]
    assert admission(folder, "mine").admit(9).last == 2


class Killed(BaseException):
    """The end of the process."""


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, after: bool) -> list[str]:
    """Let call number `at` of what changes the disk be the last, done or not done; return the calls."""
    calls: list[str] = []

    def until(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            calls.append(name)
            last = len(calls) == at + 1
            if last and not after:
                raise Killed
            try:
                return real(*arguments, **keywords)
            finally:
                if last:
                    raise Killed

        return call

    for name in ("rename", "fsync", "mkdir"):
        monkeypatch.setattr(os, name, until(name))
    return calls


def four_files(drop: Drop) -> Path:
    """A good one, a copy of it, a malformed one, another good one."""
    drop(f"{FIRST}.npz", seed=1)
    drop(f"{SECOND}-copy.npz", seed=1)
    folder = drop(f"{THIRD}.npz", seed=2).parent
    (folder / f"{SECOND}-torn.npz").write_bytes(b"PK torn")
    return folder


def test_killed_between_any_two_steps_a_file_is_one_period_exactly_once(
    drop: Drop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = four_files(drop)
    with monkeypatch.context() as patched:
        steps = interrupted(patched, at=-1, after=False)
        assert admission(folder).admit(9).last == 2
    undisturbed = tree(folder)
    assert len(undisturbed) == 2 + 2 * 2 + 1
    assert steps.count("rename") == 2 + 2 * 2 + 1
    for at in range(len(steps)):
        for after in (False, True):
            folder.rename(tmp_path / f"done-{at}-{after}")
            folder = four_files(drop)
            with monkeypatch.context() as patched:
                interrupted(patched, at, after)
                with pytest.raises(Killed):
                    admission(folder).admit(9)
            assert admission(folder).admit(9).last == 2
            assert tree(folder) == undisturbed, (steps[at], at, after)


ADMIT = """
import sys
from simulator.world.arrivals.admission import Admission
from simulator.world.arrivals.contents import Expected
from simulator.world.arrivals.roles import RowCounts
from simulator.world.arrivals.folder import DropFolder

folder, expected = DropFolder(sys.argv[1]), Expected((1, 8, 8), classes=4, megabytes=1)
admission = Admission(folder=folder, run="run", expected=expected, needed=lambda period: RowCounts(30, 20), most=100)
print("ready", flush=True)
sys.stdin.readline()
done = admission.admit(99)
print(done.last, len(done.set_aside))
"""


def test_two_processes_that_admit_at_once_wait_for_each_other(drop: Drop) -> None:
    for number in range(40):  # every second one is a copy of the one before
        folder = drop(f"20261122T0000{number:02d}Z.npz", seed=number // 2).parent
    command = [sys.executable, "-c", ADMIT, str(folder)]
    admitting = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in admitting:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in admitting:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].split() for process in admitting]
    assert [int(last) for last, _ in answers] == [20, 20]
    assert sum(int(aside) for _, aside in answers) == 20
    assert stamps(folder) == [f"20261122T0000{number:02d}Z" for number in range(0, 40, 2)]
    assert len(list((folder / "set-aside").glob("*.npz"))) == 20
    assert json.loads((folder / "owner.json").read_text()) == {"run": "run"}
