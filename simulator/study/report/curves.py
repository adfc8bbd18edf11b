"""A setting as pictures need it: each seed's readings over the periods, and their median."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from simulator.observer.rows import evidence_of
from simulator.study.results import by_setting
from simulator.study.rows import Rows
from simulator.study.statistics.lifetimes import Lifetime

#: a reading over the periods; None is undefined
Curve = tuple[tuple[int, float | None], ...]


@dataclass(frozen=True, slots=True)
class SettingCurves:
    """One setting: by seed the arm's net attack success and clean accuracy, and the paced twin's clean accuracy.

    `lives` are the survivals in updates of the planted seeds.
    """

    setting: str
    net: Mapping[int, Curve]
    clean: Mapping[int, Curve]
    twin: Mapping[int, Curve]
    lives: tuple[Lifetime, ...]


def curves_of(periods: Rows, lives: Mapping[str, Sequence[Lifetime | None]]) -> list[SettingCurves]:
    """Return the settings' curves from the rows of a periods table and the settings' lifetimes."""
    return [
        SettingCurves(
            setting=name,
            net=_nets(rows),
            clean=_by_seed(rows, "none", "clean_accuracy"),
            twin=_by_seed(rows, "paced", "clean_accuracy"),
            lives=tuple(life for life in lives[name] if life is not None),
        )
        for name, rows in by_setting(periods).items()
    ]


def nets_of(periods: Rows) -> dict[str, dict[int, Curve]]:
    """Return the arms' net attack success by setting and seed, from the rows of a periods table."""
    return {name: _nets(rows) for name, rows in by_setting(periods).items()}


def median_curve(curves: Mapping[int, Curve]) -> Curve:
    """Return the median over the seeds that have a value, period by period; None where none has."""
    values: dict[int, list[float]] = {}
    for curve in curves.values():
        for period, value in curve:
            values.setdefault(period, []).extend([] if value is None else [value])
    return tuple((period, median(found) if found else None) for period, found in sorted(values.items()))


def _nets(rows: Rows) -> dict[int, Curve]:
    """Return net attack success by seed, where it is evidence."""
    twins = {(row["seed"], row["period"]): row for row in rows if row["control"] == "paced"}
    evident = [evidence_of(row, twins.get((row["seed"], row["period"]))) for row in rows if row["control"] == "none"]
    return _by_seed(evident, "none", "net_attack_success")


def _by_seed(rows: Rows, control: str, key: str) -> dict[int, Curve]:
    found: dict[int, list[tuple[int, float | None]]] = {}
    for row in rows:
        if row["control"] == control:
            found.setdefault(row["seed"], []).append((row["period"], row.get(key)))
    return {seed: tuple(points) for seed, points in found.items()}
