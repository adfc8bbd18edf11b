"""What a reader must know of the values that count: censoring, and settings that a correlation had to leave out."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.study.claims.field import Field
from simulator.study.claims.sides import shared_settings
from simulator.study.claims.values import SideValues
from simulator.study.model import RANK_CORRELATION, SURVIVAL, Correlation, EndpointSpec, Side

__all__ = ["notes_on"]


def notes_on(
    endpoint: EndpointSpec,
    one: SideValues,
    other: SideValues,
    out: Mapping[int, str],
    sides: tuple[Side, Side],
    field: Field,
) -> tuple[str, ...]:
    """Return the sentences, none where there is nothing to say."""
    if endpoint.measure == SURVIVAL:
        return tuple(text for side in (one, other) if (text := _alive_at_the_end(side, out)))
    if endpoint.measure != RANK_CORRELATION:
        return tuple(f"{text}: lower bounds" for side in (one, other) if (text := _alive_at_the_end(side, out)))
    asked = [side.correlation for side in sides if side.correlation is not None]
    seeds = [seed for seed in one.by_seed if seed not in out]
    return tuple(text for text in (_lower_bounds(asked, seeds, field), _settings_left_out(asked, seeds, field)) if text)


def _alive_at_the_end(side: SideValues, out: Mapping[int, str]) -> str:
    counted = [value for seed, value in side.by_seed.items() if seed not in out]
    alive = sum(not value.ended for value in counted)
    return f"{side.name}: alive at the end of {alive} of {len(counted)} timelines" if alive else ""


def _lower_bounds(asked: list[Correlation], seeds: list[int], field: Field) -> str:
    found = {
        (setting, seed)
        for seed in seeds
        for setting in shared_settings(asked, field, seed)
        for item in asked
        if any(not field.column(setting, seed, name).ended for name in (item.of, item.with_))
    }
    if not found:
        return ""
    return f"{len(found)} survivals outlast their timelines; a rank correlation takes each as its lower bound"


def _settings_left_out(asked: list[Correlation], seeds: list[int], field: Field) -> str:
    wanted = dict.fromkeys(setting for item in asked for setting in item.settings)
    missing = {setting: sum(setting not in shared_settings(asked, field, seed) for seed in seeds) for setting in wanted}
    told = [f"{setting} ({count} of {len(seeds)} seeds)" for setting, count in missing.items() if count]
    return f"without a value in some column, and left out of the correlation: {', '.join(told)}" if told else ""
