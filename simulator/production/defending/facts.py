"""What is known of a defense before it is called: its surface, its options with their defaults, what a call costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, get_args

from pydantic_core import to_jsonable_python

from defenses.base import Calibration, Defense, Size, Surface, Threshold
from simulator.errors import PluginError
from simulator.guard.place import told
from simulator.production.defending.job import build
from simulator.production.defending.texts import short
from simulator.records import Value
from simulator.scenario import catalog

#: versions or periods that a defense may look back: those have to be held, and travel to each of its calls
_FARTHEST: Final = 100


def _one_of(*values: str) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: isinstance(value, str) and value in values), " or ".join(map(repr, values))


def _reach(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _FARTHEST


def _threshold(value: Any) -> bool:
    if not isinstance(value, Threshold):
        return value is None
    named = isinstance(value.option, str) and isinstance(value.of, str) and all(value.of.split("."))
    return named and value.flags in ("above", "below")


#: class attribute -> what it has to be
_ATTRIBUTES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "calibration": _one_of(*get_args(Calibration)),
    "threshold_option": (_threshold, "None or a Threshold whose fields are of their types"),
    "versions_back": (_reach, f"a whole number from 0 to {_FARTHEST}"),
    "periods_back": (_reach, f"a whole number from 0 to {_FARTHEST}"),
    "remembers": (lambda value: isinstance(value, bool), "True or False"),
    "after_rollback": _one_of("keep", "clear"),
}


class DefenseFacts(Value):
    """Facts of a defense as JSON values. `defaults` are those of its options; the others: see `Defense`."""

    surface: Surface
    needs_trusted: bool
    defaults: dict[str, Any]
    tells_passes: bool = False
    passes: int | None = None
    calibration: Calibration = "none"
    threshold_option: Threshold | None = None
    versions_back: int = 0
    periods_back: int = 0
    remembers: bool = False
    after_rollback: Literal["keep", "clear"] = "keep"

    @property
    def looks_back(self) -> bool:
        """Whether it is handed what the platform remembers of earlier periods."""
        return self.remembers or self.versions_back > 0 or self.periods_back > 0


def facts_of(use: str, options: Mapping[str, Any], size: Size | None = None) -> DefenseFacts:
    """Import and construct the defense in this process, or raise `PluginError`; `size` is that of a context."""
    defense = build(use, options)
    known = catalog.options(catalog.resolve("defenses", use))
    taken = sorted({"may", "when"} & known.keys())
    if taken:
        raise PluginError(
            f"defense '{use}': expected no option named '{taken[0]}', a key of every defense in a scenario; rename it"
        )
    defaults = {name: default for name, (_, default) in known.items() if default is not ...}
    return DefenseFacts(
        surface=defense.surface,
        needs_trusted=bool(defense.needs_trusted),
        defaults=to_jsonable_python(defaults),
        tells_passes=type(defense).passes is not Defense.passes,
        passes=None if size is None else passes_of(defense, use, size),
        **class_attributes(use, defense),
    )


def class_attributes(use: str, defense: Defense) -> dict[str, Any]:
    """Return what a class says of how it works over time, or raise `PluginError` where something is of another type."""
    found = {name: getattr(defense, name) for name in _ATTRIBUTES}
    for name, (fits, expected) in _ATTRIBUTES.items():
        if not fits(found[name]):
            got = short(repr(found[name]))
            raise PluginError(f"defense '{use}': expected {name} to be {expected}, got {got}; correct the class")
    if defense.surface == "screen" and defense.remembers:
        raise PluginError(f"defense '{use}': expected remembers to be False of a screen, got True; correct the class")
    _check_threshold(use, defense, found["threshold_option"])
    return found


def _check_threshold(use: str, defense: Defense, threshold: Threshold | None) -> None:
    """Raise `PluginError` unless there is such an option, and something that its surface returns to compare it with."""
    if threshold is None:
        return
    options = catalog.options(catalog.resolve("defenses", use))
    if threshold.option not in options:
        raise PluginError(
            f"defense '{use}': expected threshold_option to name an option, got '{threshold.option}'; "
            f"there are {', '.join(options) or 'none'}"
        )
    without = {"inspector": "scores", "filter": "score", "screen": "score"}
    if without.get(defense.surface, threshold.of) == threshold.of:
        raise PluginError(
            f"defense '{use}': expected threshold_option to be compared with what its surface returns, got "
            f"'{threshold.of}' of a {defense.surface}; correct the class"
        )


def passes_of(defense: Defense, use: str, size: Size) -> int | None:
    """Return how many passes a call is said to take, or raise `PluginError`."""
    try:
        passes = defense.passes(size)
    except (Exception, SystemExit) as error:
        raise PluginError(f"defense '{use}': expected passes to work, got {told(error)}; correct it") from error
    if passes is None or (isinstance(passes, int) and passes >= 0):
        return passes
    raise PluginError(f"defense '{use}': expected passes to be None or a whole number, got {passes!r}")


def module_of(use: str) -> str:
    """Return the module that the defense's name stands for; the name itself where there is none."""
    point = None if ":" in use else catalog.point("defenses", use)
    return (use if point is None else point.value).partition(":")[0]


def modules_of_ours(uses: Iterable[str]) -> list[str]:
    """Return the modules of those defenses that ship with ebbdoor."""
    return sorted({module_of(use) for use in uses if not catalog.is_third_party("defenses", use)})
