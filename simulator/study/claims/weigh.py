"""Verdicts on the claims of a study: two sides become a finding each, and all findings are judged together.

A pair does not count where the claim is not about it (never planted, not erased, unequal starts) or where a value is
undefined and its endpoint does not say what to put in its place; p is corrected over the claims of a family; notes say
what to know of the values that count: censoring, replacements, and settings left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from simulator.scenario.overrides import arm_scenario
from simulator.study.claims.power import power_to_decide
from simulator.study.claims.readings import at_start
from simulator.study.claims.sides import both_sides, endpoint_of, shared_settings
from simulator.study.claims.values import Field, JudgedClaim, SideValues, StudyVerdicts, Value, Weighed
from simulator.study.model import (
    RANK_CORRELATION,
    SURVIVAL,
    ClaimSpec,
    Comparison,
    Correlation,
    EndpointSpec,
    Side,
    Start,
    Study,
    is_share,
)
from simulator.study.statistics.lifetimes import Lifetime
from simulator.study.statistics.values import Claim, Finding
from simulator.study.statistics.weigh import compare_lifetimes, compare_values, decide, weigh_share, without_values
from simulator.study.timelines import PlayedTimeline

#: tolerance of `Start` -> the reading of the base model that it is about
STARTS = {"attack_success": "backdoor/attack_success", "dose": "backdoor/trigger_ed50"}


def verdicts(study: Study, played: Sequence[PlayedTimeline]) -> StudyVerdicts:
    """Return a verdict for each claim of `study`, in its order, from the timelines that were `played`.

    A claim whose settings were not played, or that has no pair of values, is undecided with the reason. It counts in
    the correction of its family all the same, so that leaving a claim out cannot help another. Intervals have the
    confidence 1 - alpha, or the most that the pairs allow; the simultaneous ones 1 - alpha / claims of the family.
    """
    field, level = Field.of(played), 1 - study.alpha
    families = Counter(spec.family for spec in study.claims)
    weighed = [weigh_claim(spec, field, level, 1 - study.alpha / families[spec.family]) for spec in study.claims]
    findings = [one.finding for one in weighed]
    differences = {one.finding.claim.id: differences_in(one) for one in weighed}

    def power(finding: Finding, alpha: float) -> float | None:
        return power_to_decide(finding.claim, differences[finding.claim.id], alpha)

    judged = decide(findings, study.alpha, power) if weighed else ()
    claims = [
        JudgedClaim(spec, one, verdict, tuple((item, weigh_beside(spec, item, field, level)) for item in spec.beside))
        for spec, one, verdict in zip(study.claims, weighed, judged, strict=True)
    ]
    return StudyVerdicts(study.name, study.alpha, tuple(claims))


def weigh_claim(spec: ClaimSpec, field: Field, level: float, together: float | None = None) -> Weighed:
    """Return what `field` says of the claim; intervals have the confidence `level`, or the most that there is.

    `together`: that of the simultaneous interval.
    """
    gate = spec.gate + (spec.other.value or 0.0) if is_share(spec.endpoint, spec.other) else spec.gate
    endpoint = endpoint_of(spec.endpoint, spec.other)
    claim = Claim(spec.id, spec.sentence, endpoint, spec.direction, gate, spec.family)
    return _weigh(claim, spec.endpoint, (spec.one, spec.other), spec.start, field, level, together)


def differences_in(weighed: Weighed) -> list[float]:
    """Return the paired differences that count, by rising seed, or of a share the events as 1 and 0."""
    horizon = weighed.finding.claim.endpoint.horizon
    found: list[float] = []
    for one, other in weighed.pairs.values():
        mine, theirs = (one.number or 0.0, other.number or 0.0)
        if horizon is not None:
            mine, theirs = min(mine, horizon), min(theirs, horizon)
        found.append(mine if weighed.finding.claim.endpoint.kind == "share" else mine - theirs)
    return found


def weigh_beside(spec: ClaimSpec, comparison: Comparison, field: Field, level: float) -> Weighed:
    """Return a comparison beside a claim, from the claim's equal starts where both of its sides are settings."""
    endpoint = comparison.endpoint or spec.endpoint
    words = comparison.note or f"beside {spec.id}"
    claim = Claim(f"{spec.id}-beside", words, endpoint_of(endpoint, comparison.other), spec.direction)
    settings = comparison.one.setting is not None and comparison.other.setting is not None
    start = spec.start if settings else None
    return _weigh(claim, endpoint, (comparison.one, comparison.other), start, field, level)


def _weigh(
    claim: Claim,
    endpoint: EndpointSpec,
    sides: tuple[Side, Side],
    start: Start | None,
    field: Field,
    level: float,
    together: float | None = None,
) -> Weighed:
    one, other = both_sides(*sides, endpoint, field)
    if endpoint.undefined == "against":
        one, other = _against(claim, endpoint, (one, other), sides, field)
    out = left_out(one, other, sides, start, field)
    missing = _unplayed(one, other, field)
    finding = missing and without_values(claim, out, missing)
    finding = finding or _compare(claim, endpoint, one, other, out, (level, together))
    return Weighed(finding, one, other, out, notes_on(endpoint, one, other, out, sides, field))


def _unplayed(one: SideValues, other: SideValues, field: Field) -> str | None:
    """Say which setting was not played, as in a quick run; a correlation only needs some of its settings."""
    for side in (one, other):
        missing = [setting for setting in side.settings if not field.at(setting)]
        if missing and len(missing) == len(side.settings):
            return f"{' and '.join(missing)} was not played"
    return None


def _against(
    claim: Claim, endpoint: EndpointSpec, values: tuple[SideValues, SideValues], sides: tuple[Side, Side], field: Field
) -> tuple[SideValues, SideValues]:
    """Put what speaks most against the claim in the place of undefined values, as lower bounds."""
    from simulator.study.ranges import value_range

    found: list[SideValues] = []
    for first, side, mine in zip((True, False), sides, values, strict=True):
        timeline = next(iter(field.at(side.setting or "").values()), None)
        if timeline is None:
            found.append(mine)
            continue
        scenario = arm_scenario(timeline.timeline.scenario, timeline.timeline.arm)
        low, high = value_range(side.measure or endpoint.measure, endpoint, scenario)
        worst = Value(low if (claim.direction == "greater") == first else high, ended=False)
        found.append(
            replace(
                mine,
                by_seed={
                    seed: worst if value.number is None and value.eligible else value
                    for seed, value in mine.by_seed.items()
                },
            )
        )
    return found[0], found[1]


def _compare(
    claim: Claim,
    endpoint: EndpointSpec,
    one: SideValues,
    other: SideValues,
    out: Mapping[int, str],
    levels: tuple[float, float | None],
) -> Finding:
    if claim.endpoint.kind == "share":
        events = {seed: None if number is None else number > 0 for seed, number in _numbers(one, out).items()}
        return weigh_share(claim, events, *levels)
    if endpoint.measure != SURVIVAL:
        return compare_values(claim, _numbers(one, out), _numbers(other, out), *levels)
    lives = _lifetimes(one, out)
    if claim.endpoint.kind == "restricted mean":
        return compare_lifetimes(claim, lives, _lifetimes(other, out), *levels)
    horizon = endpoint.horizon
    assert horizon is not None  # the model's own rule
    if lost := sum(life is not None and not life.known_until(horizon) for life in lives.values()):
        return without_values(
            claim, out, f"{lost} of the timelines ended before update {horizon:g}, the backdoor not erased"
        )
    restricted = {seed: None if life is None else min(life.time, horizon) for seed, life in lives.items()}
    return compare_values(claim, restricted, _numbers(other, out), *levels)


def _numbers(side: SideValues, out: Mapping[int, str]) -> dict[int, float | None]:
    return {seed: None if seed in out else value.number for seed, value in side.by_seed.items()}


def _lifetimes(side: SideValues, out: Mapping[int, str]) -> dict[int, Lifetime | None]:
    return {
        seed: None if number is None else Lifetime(number, side.by_seed[seed].ended)
        for seed, number in _numbers(side, out).items()
    }


def left_out(
    one: SideValues, other: SideValues, sides: tuple[Side, Side], start: Start | None, field: Field
) -> dict[int, str]:
    """Return the reason of each seed whose pair does not count. Both sides have the same seeds."""
    undefined = {
        seed: f"{side.name}: {value.reason}"
        for side in (other, one)  # of two reasons the first side's is kept
        for seed, value in side.by_seed.items()
        if value.reason is not None
    }
    unequal = {} if start is None else dict(_unequal(sides, start, field))
    return dict(sorted((unequal | undefined).items()))


def _unequal(sides: tuple[Side, Side], start: Start, field: Field) -> Iterator[tuple[int, str]]:
    first, second = (field.at(side.setting or "") for side in sides)
    for seed in first.keys() & second.keys():
        for name, reading in STARTS.items():
            tolerance: float | None = getattr(start, name)
            if tolerance is None:
                continue
            why = _apart(at_start(first[seed], reading), at_start(second[seed], reading), tolerance)
            if why is not None:
                yield seed, f"unequal starts, {name.replace('_', ' ')}: {why}"
                break


def _apart(one: Value, other: Value, tolerance: float) -> str | None:
    if one.number is None or other.number is None:
        return f"undefined at period 0: {one.reason or other.reason}"
    # the difference of two shares that are 0.05 apart is not 0.05 to the last bit
    if abs(one.number - other.number) <= tolerance + 1e-9:
        return None
    return f"{one.number:.3f} and {other.number:.3f} at period 0 are more than {tolerance:g} apart"


def notes_on(
    endpoint: EndpointSpec,
    one: SideValues,
    other: SideValues,
    out: Mapping[int, str],
    sides: tuple[Side, Side],
    field: Field,
) -> tuple[str, ...]:
    """Return sentences on censored values and on settings that a correlation leaves out; none where there are none."""
    if endpoint.measure != RANK_CORRELATION:
        replaced = "/" in endpoint.measure
        told = _replaced if replaced else _not_erased
        ending = "" if endpoint.measure == SURVIVAL or replaced else ": lower bounds"
        return tuple(text + ending for side in (one, other) if (text := told(side, out)))
    asked = [side.correlation for side in sides if side.correlation is not None]
    seeds = [seed for seed in one.by_seed if seed not in out]
    return tuple(text for text in (_lower_bounds(asked, seeds, field), _settings_left_out(asked, seeds, field)) if text)


def _not_erased(side: SideValues, out: Mapping[int, str]) -> str:
    counted = [value for seed, value in side.by_seed.items() if seed not in out]
    left = [value.state for value in counted if not value.ended]
    alive, censored = left.count("alive"), left.count("censored")
    states = f" ({alive} alive at the end, {censored} censored)" if alive + censored == len(left) else ""
    return f"{side.name}: not erased by the end of {len(left)} of {len(counted)} timelines{states}" if left else ""


def _replaced(side: SideValues, out: Mapping[int, str]) -> str:
    counted = [value for seed, value in side.by_seed.items() if seed not in out]
    replaced = sum(not value.ended for value in counted)
    return (
        f"{side.name}: {replaced} of {len(counted)} values are or hold replacements of undefined ones"
        if replaced
        else ""
    )


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
    missed = [f"{setting} ({count} of {len(seeds)} seeds)" for setting, count in missing.items() if count]
    return f"without a value in some column, and left out of the correlation: {', '.join(missed)}" if missed else ""
