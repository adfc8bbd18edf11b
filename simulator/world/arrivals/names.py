"""What files of arriving data are called: a time stamp while they wait, their period and contents once accepted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

__all__ = ["Accepted", "Stamp", "accepted_file", "stamp_of"]

_WAITING = re.compile(
    r"(?P<time>\d{8}T\d{6}Z|\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?P<suffix>-[A-Za-z0-9][A-Za-z0-9._-]{0,59})?\.npz",
    re.ASCII,
)
_ACCEPTED = re.compile(
    r"(?P<period>\d{4,})-(?P<time>\d{8}T\d{6}Z)(?P<suffix>-.+)?-(?P<sha256>[0-9a-f]{64})\.npz", re.ASCII
)


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """When a file was made, as `20261122T180000Z`, and what sets it apart from others of that second (or "")."""

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
        """What it is called in the folder `accepted`."""
        return f"{self.period:04d}-{self.stamp}-{self.sha256}.npz"


def stamp_of(name: str) -> Stamp | None:
    """Return the stamp of a waiting file's name, or None when it has none or names no moment."""
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
    """Return what the name of a file in `accepted` says, or None for a name that we did not give."""
    found = _ACCEPTED.fullmatch(name)
    if found is None:
        return None
    return Accepted(int(found["period"]), Stamp(found["time"], found["suffix"] or ""), found["sha256"])
