"""File names of arriving data: a time stamp while a file waits, its period and contents once it is accepted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_WAITING = re.compile(
    r"(?P<time>\d{8}T\d{6}Z|\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?P<suffix>-[A-Za-z0-9][A-Za-z0-9._-]{0,59})?\.npz",
    re.ASCII,
)
_ACCEPTED = re.compile(
    r"(?P<period>\d{4,})-(?P<time>\d{8}T\d{6}Z)(?P<suffix>-.+)?-(?P<sha256>[0-9a-f]{64})\.npz", re.ASCII
)


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """When a file was made, as `20261122T180000Z`, and a suffix (or "") to tell files of the same second apart."""

    time: str
    suffix: str = ""

    def __str__(self) -> str:
        return self.time + self.suffix


@dataclass(frozen=True, slots=True)
class Accepted:
    """A file that has become a period. `sha256` is that of its images and labels."""

    period: int
    stamp: Stamp
    sha256: str

    @property
    def name(self) -> str:
        """Its file name in the folder `accepted`."""
        return f"{self.period:04d}-{self.stamp}-{self.sha256}.npz"


def stamp_of(name: str) -> Stamp | None:
    """Return the time stamp in a waiting file's name; None if there is none or it is no valid time.

    >>> stamp_of("20261122T180000Z-camera2.npz"), stamp_of("20261322T180000Z.npz")
    (Stamp(time='20261122T180000Z', suffix='-camera2'), None)
    """
    found = _WAITING.fullmatch(name)
    if found is None:
        return None
    time = found["time"].replace("-", "")
    try:
        datetime.strptime(time, "%Y%m%dT%H%M%SZ")
    except ValueError:
        return None
    return Stamp(time, found["suffix"] or "")


def accepted_file(name: str) -> Accepted | None:
    """Return what the name of a file in `accepted` says; None for a name that has another form."""
    found = _ACCEPTED.fullmatch(name)
    if found is None:
        return None
    return Accepted(int(found["period"]), Stamp(found["time"], found["suffix"] or ""), found["sha256"])
