"""An endpoint as it is written becomes one that can be estimated: its name, its definition in words, its unit."""

from __future__ import annotations

from simulator.observer.measures import MEASURES
from simulator.study.model import RANK_CORRELATION, SURVIVAL, EndpointSpec, Side
from simulator.study.statistics.values import Endpoint

__all__ = ["endpoint_of"]

_READINGS = {item.reading: item for item in MEASURES if item.reading is not None}
_KEYS = {item.key: item for item in _READINGS.values()}
_OVER = {
    "first": "of the version of the first update",
    "last": "of the version that serves at the end",
    "mean": "mean over the periods from the first update on",
    "erased": "of the first erased version, of the last where none is",
}
_UNITS = {"share": "share", "difference": "share", "opacity": "opacity", "logits": "logits", "ratio": "ratio"}
_COLUMNS = {"updates": "updates", "periods": "periods", "alarms": "alarms", "accuracy": "share", "seconds": "seconds"}


def endpoint_of(spec: EndpointSpec, other: Side) -> Endpoint:
    """Return the endpoint that `spec` asks for; a survival held against a number is a paired difference."""
    if spec.measure == SURVIVAL:
        return _survival(spec, other.value is None)
    if spec.measure == RANK_CORRELATION:
        return Endpoint(spec.measure, "Spearman's rank correlation over settings, within each seed", "rho")
    if "/" in spec.measure:
        return _reading(spec)
    return Endpoint(spec.measure, f"column `{spec.measure}` of the timelines table", _unit(spec.measure))


def _survival(spec: EndpointSpec, compares_arms: bool) -> Endpoint:
    words = (
        f"updates until net attack success stays below {100 * spec.threshold:g} % in two consecutive versions, "
        f"counted up to {spec.horizon:g}"
    )
    if compares_arms:
        return Endpoint(SURVIVAL, f"restricted mean of the {words}", "updates", "restricted mean", spec.horizon)
    return Endpoint(SURVIVAL, f"mean of the {words}, minus the reference", "updates")


def _reading(spec: EndpointSpec) -> Endpoint:
    item = _READINGS.get(spec.measure)
    label = f"`{spec.measure}`" if item is None else f"{item.label} (`{spec.measure}`)"
    when = _OVER.get(str(spec.over), f"of the version that serves after period {spec.over}")
    return Endpoint(spec.measure, f"{label} {when}", "number" if item is None else _UNITS.get(item.unit, item.unit))


def _unit(column: str) -> str:
    """The unit of a column: of a version's reading that of the reading."""
    key = column.removeprefix("initial_").removeprefix("final_")
    if key != column and key in _KEYS:
        return _UNITS.get(_KEYS[key].unit, _KEYS[key].unit)
    return next((unit for part, unit in _COLUMNS.items() if part in column), "number")
