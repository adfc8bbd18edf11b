"""From waiting files to periods: in the order of their stamps, each exactly once, or set aside with the reason."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import final

from simulator.errors import SourceError
from simulator.world.arrivals.contents import Contents, Expected, Unfit, read_contents, shown
from simulator.world.arrivals.folder import Places
from simulator.world.arrivals.names import Accepted, Stamp, stamp_of
from simulator.world.arrivals.roles import Roles

__all__ = ["Admission", "Admitted"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an admission did. `last` is the last period that has arrived, 0 when none has.

    `set_aside` are (name, reason) of this time; `waiting` counts the files left, and `note` says why, if any.
    """

    last: int
    set_aside: tuple[tuple[str, str], ...] = ()
    waiting: int = 0
    note: str | None = None


@final
class Admission:
    """Admits the files of one run. Killed anywhere and called again, it numbers them as if it had not been.

    `needed(period)` says which rows a file must bring. Processes that admit at once wait for each other.
    """

    def __init__(
        self, places: Places, run: str, *, expected: Expected, needed: Callable[[int], Roles], most: int
    ) -> None:
        """`most` files are looked at in one call."""
        self._places = places
        self._run = run
        self._expected = expected
        self._needed = needed
        self._most = most

    def admit(self, last: int, committed: int = 0) -> Admitted:
        """Make waiting files periods, up to period `last`; later ones go on waiting.

        `committed` periods are known to have arrived: fewer accepted files mean that some were taken away, and are
        refused, for their numbers must not be given again. Raises `SourceError` for that, for a folder of another run
        and for one that cannot be used.
        """
        with self._places.held():
            self._places.claim(self._run)
            accepted = self._places.accepted()
            self._check_committed(accepted, committed)
            names = self._places.waiting()
            aside: list[tuple[str, str]] = []
            for name in heapq.nsmallest(self._most, names, key=_order):
                if len(accepted) >= last:
                    break
                with suppress(FileNotFoundError):  # its writer took it back
                    try:
                        accepted.append(self._accepted(name, accepted))
                    except Unfit as reason:
                        self._places.set_aside(name, str(reason))
                        aside.append((shown(name), str(reason)))
            waiting = len(self._places.waiting())
        return Admitted(len(accepted), tuple(aside), waiting, self._note(len(names), waiting, len(accepted), last))

    def _accepted(self, name: str, before: list[Accepted]) -> Accepted:
        """Make one file the next period, or raise `Unfit` with what is wrong with it."""
        stamp = _stamp(name, before)
        period = len(before) + 1
        contents = read_contents(self._places.folder / name, self._expected)
        _check_rows(name, contents, self._needed(period))
        _check_new(name, contents, before)
        file = Accepted(period, stamp, contents.sha256)
        self._places.accept(name, file)
        return file

    def _check_committed(self, accepted: list[Accepted], committed: int) -> None:
        if len(accepted) < committed:
            raise SourceError(
                f"expected {self._places.folder} to hold the accepted files of {committed} committed periods, "
                f"got {len(accepted)}; put the others back"
            )

    def _note(self, found: int, waiting: int, arrived: int, last: int) -> str | None:
        if waiting and arrived >= last:
            return f"{waiting} files wait: all {last} periods of the run have arrived"
        if found > self._most:
            return f"{found} files waited, more than stream.arrivals.waiting: looked at the first {self._most}"
        return None


def _order(name: str) -> tuple[bool, Stamp, str]:
    """By stamp, and after these what has none."""
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


def _check_rows(name: str, contents: Contents, needed: Roles) -> None:
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
