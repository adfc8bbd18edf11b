"""Admits waiting files as periods, in the order of their stamps and exactly once, or sets them aside with a reason."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import final

from simulator.errors import SourceError
from simulator.world.arrivals.contents import Contents, Expected, Unfit, read_contents, shown
from simulator.world.arrivals.folder import DropFolder
from simulator.world.arrivals.names import Accepted, Stamp, stamp_of
from simulator.world.arrivals.roles import RowCounts


@dataclass(frozen=True, slots=True)
class Admitted:
    """The result of an admission. `last` is the last period that has arrived, 0 when none has.

    `set_aside` are the (name, reason) of files refused in this call; `waiting` is the number of files left, and `note`
    says why they wait, if there are any.
    """

    last: int
    set_aside: tuple[tuple[str, str], ...] = ()
    waiting: int = 0
    note: str | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Admits the files of one run. After a kill at any point, the next call gives them the same numbers.

    `needed(period)` returns the rows that a file must have; `most` files are looked at in one call. Processes wait for
    each other.
    """

    folder: DropFolder
    run: str
    expected: Expected
    needed: Callable[[int], RowCounts]
    most: int

    def admit(self, last: int, committed: int = 0) -> Admitted:
        """Make waiting files periods, up to period `last`; the others stay waiting.

        `committed` is the number of periods known to have arrived. Raises `SourceError` if there are fewer accepted
        files, because their numbers must not be given to other files, for a folder of another run, and for one that
        cannot be used.
        """
        with self.folder.locked():
            self.folder.claim(self.run)
            accepted = self.folder.accepted()
            self._check_committed(accepted, committed)
            names = self.folder.waiting()
            aside: list[tuple[str, str]] = []
            for name in heapq.nsmallest(self.most, names, key=_order):
                if len(accepted) >= last:
                    break
                with suppress(FileNotFoundError):  # its writer removed it
                    try:
                        accepted.append(self._accepted(name, accepted))
                    except Unfit as reason:
                        self.folder.set_aside(name, str(reason))
                        aside.append((shown(name), str(reason)))
            waiting = len(self.folder.waiting())
        return Admitted(len(accepted), tuple(aside), waiting, self._note(len(names), waiting, len(accepted), last))

    def _accepted(self, name: str, before: list[Accepted]) -> Accepted:
        """Make one file the next period, or raise `Unfit` with what is wrong with it."""
        stamp = _stamp(name, before)
        period = len(before) + 1
        contents = read_contents(self.folder.folder / name, self.expected)
        _check_rows(name, contents, self.needed(period))
        _check_new(name, contents, before)
        file = Accepted(period, stamp, contents.sha256)
        self.folder.accept(name, file)
        return file

    def _check_committed(self, accepted: list[Accepted], committed: int) -> None:
        if len(accepted) < committed:
            raise SourceError(
                f"expected {self.folder.folder} to hold the accepted files of {committed} committed periods, "
                f"got {len(accepted)}; put the others back"
            )

    def _note(self, found: int, waiting: int, arrived: int, last: int) -> str | None:
        if waiting and arrived >= last:
            return f"{waiting} files wait: all {last} periods of the run have arrived"
        if found > self.most:
            return f"{found} files waited, more than stream.arrivals.waiting: looked at the first {self.most}"
        return None


def _order(name: str) -> tuple[bool, Stamp, str]:
    """Return the sort key of a waiting file: by stamp, files without one last."""
    stamp = stamp_of(name)
    return stamp is None, stamp or Stamp(""), name


def _stamp(name: str, before: list[Accepted]) -> Stamp:
    stamp = stamp_of(name)
    if stamp is None:
        raise Unfit(
            f"expected '{shown(name)}' to be named by a time in UTC such as 20261122T180000Z.npz or "
            "20261122T180000Z-camera2.npz, got another name; rename it and put it back"
        )
    if before and stamp <= before[-1].stamp:
        raise Unfit(
            f"expected '{shown(name)}' to be later than {before[-1].stamp}, which period {before[-1].period} has, "
            f"got {stamp}; periods are in the order of time, so give it a later stamp or leave it out"
        )
    return stamp


def _check_rows(name: str, contents: Contents, needed: RowCounts) -> None:
    if len(contents.labels) < needed.total:
        raise Unfit(
            f"expected '{shown(name)}' to hold at least {needed.total} rows ({needed}), got {len(contents.labels)}; "
            "gather more rows in a file, or lower stream.batch or trusted.images"
        )


def _check_new(name: str, contents: Contents, before: list[Accepted]) -> None:
    for file in before:
        if file.sha256 == contents.sha256:
            raise Unfit(
                f"expected '{shown(name)}' to hold new rows, got the images and labels of period {file.period} "
                f"({file.stamp}) again; leave it out"
            )
