"""The power of a study's claims before it is played: simulated from values that were seen at other seeds.

Each repeat draws every claim's test (`claims.power`), corrects p over each family by Holm's method, and judges; the
claims of a repeat are drawn independently. A claim without values is never decided, and counts in the correction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import ScenarioError
from simulator.scenario.text import parse
from simulator.study.claims.power import REPEATS, Simulated, simulate
from simulator.study.claims.sides import endpoint_of
from simulator.study.expand import timelines_of
from simulator.study.model import ClaimSpec, Study, is_share
from simulator.study.statistics.paired_tests import holm
from simulator.study.statistics.values import Claim
from simulator.study.timelines import PlayedTimeline


@dataclass(frozen=True, slots=True)
class Power:
    """Of one claim: its pairs, the values it was simulated from, and the shares of repeats; None without values.

    `source`: where the values are from.
    """

    id: str
    family: str
    pairs: int
    values: int
    holds: float | None
    fails: float | None
    source: str = ""

    @property
    def decided(self) -> float | None:
        """The share of repeats that decide the claim, either way."""
        return None if self.holds is None or self.fails is None else self.holds + self.fails


def powers(
    study: Study, values: Mapping[str, Sequence[float]], sources: Mapping[str, str] | None = None
) -> list[Power]:
    """Return the power of every claim of `study`, in its order.

    `values`: claim's id -> paired differences one - other (of a share: 1 and 0) at seeds that are not the study's.
    Raises `ScenarioError` for a name that is no claim's.
    """
    claims = {spec.id: spec for spec in study.claims}
    if unknown := [name for name in values if name not in claims]:
        raise ScenarioError(f"expected values of the study's claims, got some of '{unknown[0]}'; correct the name")
    pairs = {spec.id: _pairs(study, spec) for spec in study.claims}
    tests = {name: simulate(_claim(spec), values.get(name, ()), pairs[name]) for name, spec in claims.items()}
    shares = dict.fromkeys(claims, (0.0, 0.0))
    for family in {spec.family for spec in study.claims}:
        mine = {name: tests[name] for name, spec in claims.items() if spec.family == family}
        shares |= _shares(mine, study.alpha)
    return [
        Power(
            name,
            spec.family,
            pairs[name],
            len(values.get(name, ())),
            None if tests[name] is None else shares[name][0],
            None if tests[name] is None else shares[name][1],
            (sources or {}).get(name, ""),
        )
        for name, spec in claims.items()
    ]


def read_values(path: Path) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the values of a YAML file, `claim: {values: [...], from: TEXT}`, and where each is from."""
    values: dict[str, list[float]] = {}
    sources: dict[str, str] = {}
    try:
        found = parse(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise ScenarioError(f"expected a file of values, got '{path}': {error.strerror}; check the name") from error
    if not isinstance(found, dict):
        raise ScenarioError(f"expected {path} to map claims to their values, got {type(found).__name__}; correct it")
    for name, item in found.items():
        if not (isinstance(item, Mapping) and _are_numbers(item.get("values"))):
            raise ScenarioError(
                f"expected {path} to map claims to {{values: [numbers], from: TEXT}}, got '{name}' without numbers; "
                "correct it"
            )
        values[name] = [float(value) for value in item["values"]]
        sources[name] = str(item.get("from", ""))
    return values, sources


def values_of(study: Study, played: Sequence[PlayedTimeline]) -> dict[str, list[float]]:
    """Return each claim's differences in timelines that were played, as of a pilot."""
    from simulator.study.claims.values import Field
    from simulator.study.claims.weigh import differences_in, weigh_claim

    field = Field.of(played)
    found = {spec.id: differences_in(weigh_claim(spec, field, 1 - study.alpha)) for spec in study.claims}
    return {name: mine for name, mine in found.items() if mine}


def _are_numbers(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(one, int | float) for one in found)


def _claim(spec: ClaimSpec) -> Claim:
    gate = spec.gate + (spec.other.value or 0.0) if is_share(spec.endpoint, spec.other) else spec.gate
    return Claim(spec.id, spec.sentence, endpoint_of(spec.endpoint, spec.other), spec.direction, gate, spec.family)


def _pairs(study: Study, spec: ClaimSpec) -> int:
    names = [spec.one.setting] if spec.one.correlation is None else list(spec.one.correlation.settings)
    return len({timeline.seed for timeline in timelines_of(study) if timeline.setting in names})


def _shares(tests: Mapping[str, Simulated | None], alpha: float) -> dict[str, tuple[float, float]]:
    """The shares of repeats in which each claim of a family holds, and fails."""
    counts = {name: [0, 0] for name in tests}
    for repeat in range(REPEATS):
        corrected = holm({name: None if one is None else float(one.p[repeat]) for name, one in tests.items()})
        for name, one in tests.items():
            p = corrected[name]
            if one is not None and p is not None and p <= alpha:
                counts[name][0 if one.beyond[repeat] else 1] += 1
    return {name: (holds / REPEATS, fails / REPEATS) for name, (holds, fails) in counts.items()}
