"""Two settings of `ebbdoor compare`, paired by seed: exact, and with nobody's hypothesis fixed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from simulator.errors import ScenarioError
from simulator.scenario.sentences import near
from simulator.study.compared import Compared
from simulator.study.model import SURVIVAL
from simulator.study.results import lifetime_of, show_column
from simulator.study.statistics.values import Claim, Endpoint, Finding
from simulator.study.statistics.weigh import compare_lifetimes, compare_values

__all__ = ["as_values", "find_setting", "paired", "sentence"]


def find_setting(settings: Sequence[Compared], label: str) -> Compared:
    """Return the setting of that label, or raise `ScenarioError`."""
    labels = [setting.label for setting in settings]
    if label not in labels:
        raise ScenarioError(
            f"expected a setting of these folders, got '{label}'; {near(label, labels, f'they have {_listed(labels)}')}"
        )
    return settings[labels.index(label)]


def paired(one: Compared, other: Compared, measure: str = SURVIVAL) -> Finding:
    """Return what the differences one - other of `measure`, seed by seed, say against "no difference".

    `survival`: restricted means in updates at the threshold 0.5, up to the shortest follow-up of the planted timelines
    of both. Else a column of the timelines table that holds numbers. Seeds that only one of them has, or that lack the
    value, are left out and counted. Raises `ScenarioError` for another measure, or where nothing can be compared.
    """
    seeds = sorted({row["seed"] for setting in (one, other) for row in setting.rows})
    try:
        if measure == SURVIVAL:
            lives = [{row["seed"]: lifetime_of(row) for row in setting.rows} for setting in (one, other)]
            mine, theirs = ({seed: found.get(seed) for seed in seeds} for found in lives)
            return compare_lifetimes(_claim(one, other, _survival(one, other)), mine, theirs)
        _check_measure(measure, (one, other))
        values = [{row["seed"]: row[measure] for row in setting.rows} for setting in (one, other)]
        ours, others = ({seed: found.get(seed) for seed in seeds} for found in values)
        endpoint = Endpoint(measure, "the column of the timelines table", "the column's own")
        return compare_values(_claim(one, other, endpoint), ours, others)
    except ValueError as error:
        raise ScenarioError(str(error)) from error


def sentence(finding: Finding) -> str:
    """Return what was found, for people."""
    if finding.estimate is None:
        return f"{finding.claim.sentence}: {finding.reason}"
    found, sizes = finding.interval, finding.effects
    unit = _shown(finding, finding.estimate)
    if found.low is None or found.high is None or found.level is None:
        interval = f"no interval: {found.reason}"
    else:
        interval = f"{100 * found.level:.4g} % interval {_shown(finding, found.low)} to {_shown(finding, found.high)}"
    test = f"not tested: {finding.reason}" if finding.p is None else f"p {finding.p:.3g}"
    sized = [f"standardised {sizes.standardised:.2f}"] if sizes.standardised is not None else []
    sized += [f"greater in {100 * sizes.superiority:.0f} % of the pairs"] if sizes.superiority is not None else []
    gone = f"; left out: seed {', '.join(map(str, finding.left_out))}" if finding.left_out else ""
    parts = [f"{unit} ({interval})", test, *sized, f"{finding.n} pair{'s' if finding.n != 1 else ''}{gone}"]
    return f"{finding.claim.sentence}: {'; '.join(parts)}"


def as_values(one: Compared, other: Compared, finding: Finding) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    return {
        "one": one.label,
        "other": other.label,
        "endpoint": asdict(finding.claim.endpoint),
        "estimate": finding.estimate,
        "interval": asdict(finding.interval),
        "p": finding.p,
        "smallest_p": finding.smallest_p,
        "effects": asdict(finding.effects),
        "n": finding.n,
        "left_out": list(finding.left_out),
        "reason": finding.reason,
    }


def _claim(one: Compared, other: Compared, endpoint: Endpoint) -> Claim:
    until = "" if endpoint.horizon is None else f" in updates up to {endpoint.horizon:g}"
    return Claim("comparison", f"{endpoint.name}{until}, {one.label} − {other.label}", endpoint, "greater")


def _survival(one: Compared, other: Compared) -> Endpoint:
    followed = [row["followed_updates"] for setting in (one, other) for row in setting.rows]
    horizon = min((count for count in followed if count is not None), default=0)
    if horizon < 1:
        raise ScenarioError(
            f"expected '{one.label}' and '{other.label}' to be planted and then updated, got no update to count; "
            "choose another --measure"
        )
    return Endpoint(SURVIVAL, "restricted mean survival at net ASR 0.5", "updates", "restricted mean", horizon)


def _check_measure(measure: str, settings: Sequence[Compared]) -> None:
    rows = [row for setting in settings for row in setting.rows]
    known = [key for key in rows[0] if any(_is_number(row.get(key)) for row in rows)]
    lives = [key for key in known if key.startswith(("survival_", "censored_", "followed_", "erased_"))]
    usable = [key for key in known if key not in lives and all(key in row for row in rows) and key != "seed"]
    if measure not in usable:
        told = f"they have {SURVIVAL}, {_listed(usable)}"
        raise ScenarioError(
            f"expected --measure to be '{SURVIVAL}' or a column with numbers, got '{measure}'; "
            f"{near(measure, [SURVIVAL, *usable], told)}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(finding: Finding, value: float) -> str:
    column = finding.claim.endpoint.name
    return f"{value:.3g}" if column == SURVIVAL else show_column(column, value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
