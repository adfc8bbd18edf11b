"""What `ebbdoor compare` shows: settings of runs and studies side by side, read from their folders alone.

Two of them can be compared seed by seed with an exact test; its hypothesis was not fixed before the run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from simulator.errors import PluginError, ScenarioError
from simulator.observer.export import read_run
from simulator.observer.lives import HEADLINE
from simulator.observer.measures import MEASURES
from simulator.observer.run_export import RunExport
from simulator.production.defending.examine import defaults_in
from simulator.production.registry.folder import FolderLedger
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import arm_scenario, scenario_of
from simulator.scenario.plugins import resolved
from simulator.scenario.sentences import near
from simulator.study.changed_column import COLUMN, with_changed_code
from simulator.study.model import SURVIVAL
from simulator.study.report.curves import Curve, nets_of
from simulator.study.results import by_setting, is_unknown, lifetime_of, show_column
from simulator.study.rows import outcome_of, reason_in, with_present_life
from simulator.study.run import changed_code_of
from simulator.study.statistics.values import Claim, Endpoint, Finding
from simulator.study.statistics.weigh import compare_lifetimes, compare_values
from simulator.study.tables import expect_sealed, read_table
from simulator.system.files import read_json

#: what two timelines of one setting may differ in
_NAMES = ("name", "seed", "arms")


@dataclass(frozen=True, slots=True)
class Compared:
    """One setting: `label` is unique; `rows` are those of a timelines table, `nets` the net ASR, both by seed.

    `scenario` holds the values of its scenario under dotted keys, without name and seed.
    """

    label: str
    folder: str
    rows: tuple[Mapping[str, Any], ...]
    nets: Mapping[int, Curve]
    scenario: Mapping[str, Any]


def read_compared(folders: Sequence[Path]) -> list[Compared]:
    """Return the settings that lie in folders of runs and studies, in order.

    Arms of runs whose scenarios differ in nothing but name and seed are one setting, as long as the seeds differ.
    Raises `ScenarioError` for a folder that is neither, `StoreError` for one that holds half of it.
    """
    found = [setting for folder in folders for setting in _read(folder)]
    joined: list[Compared] = []
    for setting in found:
        same = next((one for one in joined if _is_more_of(one, setting)), None)
        if same is None:
            joined.append(setting)
        else:
            more = replace(same, rows=(*same.rows, *setting.rows), nets={**same.nets, **setting.nets})
            joined[joined.index(same)] = more
    return _labelled(joined)


def differing_keys(settings: Sequence[Compared]) -> dict[str, list[Any]]:
    """Return the scenarios' dotted keys in which the settings differ, each with the settings' values in order.

    A key that a scenario lacks has the value None there.
    """
    keys = dict.fromkeys(key for setting in settings for key in setting.scenario)
    values = {key: [setting.scenario.get(key) for setting in settings] for key in keys}
    return {key: mine for key, mine in values.items() if any(value != mine[0] for value in mine)}


def require_comparable(settings: Sequence[Compared]) -> None:
    """Raise `ScenarioError` unless all timelines are of the same data and of as many periods."""
    for column, what in (("source_digest", "of one source"), ("last_period", "of as many periods")):
        found: dict[Any, str] = {}
        for setting in settings:
            for row in (row for row in setting.rows if row["last_period"] is not None):  # else it diverged
                found.setdefault(row[column], f"{_cell_text(column, row, setting)} in '{setting.label}'")
        if len(found) > 1:
            one, other, *_ = found.values()
            raise ScenarioError(
                f"expected the timelines to be {what}, got {one} and {other}; "
                "choose settings that can be compared, two of them with --one and --other"
            )


def _cell_text(column: str, row: Mapping[str, Any], setting: Compared) -> str:
    if column == "last_period":
        return f"{row[column]} periods"
    return f"{setting.scenario.get('source.use', 'a source')} ({str(row[column])[:12]})"


def _read(folder: Path) -> list[Compared]:
    if (folder / "study.json").is_file():
        return _read_study(folder)
    if (folder / "summary.json").is_file():
        return _read_arms(folder)
    raise ScenarioError(
        f"expected the folder of a run or of a study, got '{folder}', where neither summary.json nor study.json is; "
        "play it to its end, or check the name"
    )


def _read_study(folder: Path) -> list[Compared]:
    expect_sealed(folder, read_json(folder / "study.json").get("tables"))
    table, periods = read_table(folder, "timelines"), read_table(folder, "periods")
    of: dict[str, list[Mapping[str, Any]]] = {}
    for row in periods:
        of.setdefault(row["timeline"], []).append(row)
    present = [with_present_life(row, of.get(row["timeline"], [])) for row in table]
    rows, nets = by_setting(with_changed_code(present, changed_code_of(folder))), nets_of(periods)
    ledger = FolderLedger(folder / "timelines")
    return [
        Compared(name, folder.name, tuple(mine), nets.get(name, {}), _keys(scenario_of(head.scenario), mine[0]["arm"]))
        for name, mine in rows.items()
        for head in [ledger.head(mine[0]["timeline"])]
    ]


def _read_arms(folder: Path) -> list[Compared]:
    run = read_run(folder)
    scenario = scenario_of(run.scenario)
    return [_arm(run, arm, scenario, folder) for arm in run.arms]


def _arm(run: RunExport, arm: str, scenario: Scenario, folder: Path) -> Compared:
    rows = [{**row, "setting": arm, "seed": scenario.seed} for row in run.lineage(arm)]
    finals = [item.key for item in MEASURES if item.reading is not None]
    finals += [key for key in rows[-1] if "/" in key]
    outcome, reasons = outcome_of(run, arm, finals)
    row = {
        "setting": arm,
        "arm": arm,
        "seed": scenario.seed,
        "timeline": run.about["run"],
        "source_digest": run.about["source_digest"],
        **outcome,
        "reasons": json.dumps(reasons),
        COLUMN: json.dumps(_changed_in(run, arm)),
    }
    twin = [{**row, "setting": arm, "seed": scenario.seed} for row in run.lineage(arm, "paced")]
    return Compared(arm, folder.name, (row,), nets_of([*rows, *twin])[arm], _keys(scenario, arm))


def _changed_in(run: RunExport, arm: str) -> list[str]:
    """Return the names of the code that was changed while an arm or its twins were played."""
    mine = [one for one in run.about.get("code_changed", []) if one["line"].partition(".")[0] == arm]
    return sorted({name for one in mine for name in one["changed"]})


def _keys(scenario: Scenario, arm: str) -> dict[str, Any]:
    """Return the scenario of one arm under dotted keys, with the plug-ins' own defaults where they are installed."""
    mine = arm_scenario(scenario, arm)
    try:
        tree = resolved(mine, defaults_in(mine))
    except PluginError:
        tree = mine.tree
    return dict(_flat("", {key: value for key, value in tree.items() if key not in _NAMES}))


def _flat(key: str, value: Any) -> Iterable[tuple[str, Any]]:
    if not value or not isinstance(value, dict | list):
        yield key, value
        return
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _flat(f"{key}.{name}" if key else str(name), inner)


def _is_more_of(one: Compared, other: Compared) -> bool:
    """Whether `other` brings more seeds of the setting `one`."""
    return one.label == other.label and one.scenario == other.scenario and not one.nets.keys() & other.nets.keys()


def _labelled(settings: Sequence[Compared]) -> list[Compared]:
    """Return the settings with unique labels: the folder's name is put in front where it is needed."""
    plain = Counter(setting.label for setting in settings)
    longer = [one if plain[one.label] == 1 else replace(one, label=f"{one.folder}/{one.label}") for one in settings]
    seen: Counter[str] = Counter()
    labelled = []
    for setting in longer:
        seen[setting.label] += 1
        again = f" ({seen[setting.label]})" if seen[setting.label] > 1 else ""
        labelled.append(replace(setting, label=f"{setting.label}{again}"))
    return [replace(one, rows=tuple({**row, "setting": one.label} for row in one.rows)) for one in labelled]


def unknown_notes(settings: Sequence[Compared]) -> list[str]:
    """Return sentences on the timelines whose planting or survival the readings do not tell, with the reason."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for setting in settings:
        for row in filter(is_unknown, setting.rows):
            whole = row["planted"] is None
            what = "no verdict on the backdoor" if whole else "survival is unknown"
            why = reason_in(row, "planted" if whole else f"survival_updates_{HEADLINE}")
            found.setdefault((setting.label, what, why), []).append(row["seed"])
    return [f"{label}, seed {', '.join(map(str, seeds))}: {what}: {why}" for (label, what, why), seeds in found.items()]


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
    by_seed = [dict.fromkeys(seeds) | {row["seed"]: row for row in setting.rows} for setting in (one, other)]
    try:
        if measure == SURVIVAL:
            lives, others = ({seed: row and lifetime_of(row) for seed, row in rows.items()} for rows in by_seed)
            return compare_lifetimes(_claim(one, other, _survival(one, other)), lives, others)
        _check_measure(measure, (one, other))
        endpoint = Endpoint(measure, "the column of the timelines table", "the column's own")
        mine, theirs = ({seed: row and row[measure] for seed, row in rows.items()} for rows in by_seed)
        return compare_values(_claim(one, other, endpoint), mine, theirs)
    except ValueError as error:
        raise ScenarioError(str(error)) from error


def sentence(finding: Finding) -> str:
    """Return the finding as a sentence."""
    if finding.estimate is None:
        return f"{finding.claim.sentence}: {finding.reason}"
    found, sizes = finding.interval, finding.effects
    unit = _shown(finding, finding.estimate)
    if found.low is None or found.high is None or found.level is None:
        interval = f"no interval: {found.reason}"
    else:
        interval = f"{100 * found.level:.4g} % interval {_shown(finding, found.low)} to {_shown(finding, found.high)}"
    test = f"not tested: {finding.reason}" if finding.p is None else f"p {_p(finding)}"
    test = "not tested: one pair gives no p below 1" if finding.n == 1 else test
    sized = [f"not standardised: {sizes.reason}"] if sizes.reason is not None and sizes.reason != found.reason else []
    sized += [f"d_z {sizes.standardised:.2f}"] if sizes.standardised is not None else []
    sized += [f"greater in {100 * sizes.superiority:.0f} % of the pairs"] if sizes.superiority is not None else []
    gone = f"; left out: seed {', '.join(map(str, finding.left_out))}" if finding.left_out else ""
    parts = [f"{unit} ({interval})", test, *sized, f"{finding.n} pair{'s' if finding.n != 1 else ''}{gone}"]
    return f"{finding.claim.sentence}: {'; '.join(parts)}"


def _p(finding: Finding) -> str:
    if finding.p_error is None:
        return f"{finding.p:.3g}"
    low, high = finding.p_error
    return f"{finding.p:.3g} by random sign patterns, the exact one from {low:.2g} to {high:.2g}"


def as_values(one: Compared, other: Compared, finding: Finding) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    return {
        "one": one.label,
        "other": other.label,
        "endpoint": asdict(finding.claim.endpoint),
        "estimate": finding.estimate,
        "interval": asdict(finding.interval),
        "p": finding.p,
        "p_error": None if finding.p_error is None else list(finding.p_error),
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
    numeric = [key for key in rows[0] if any(_is_number(row.get(key)) for row in rows)]
    lives = [key for key in numeric if key.startswith(("survival_", "followed_", "erased_"))]
    usable = [key for key in numeric if key not in lives and all(key in row for row in rows) and key != "seed"]
    if measure not in usable:
        known = f"they have {SURVIVAL}, {_listed(usable)}"
        raise ScenarioError(
            f"expected --measure to be '{SURVIVAL}' or a column with numbers, got '{measure}'; "
            f"{near(measure, [SURVIVAL, *usable], known)}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(finding: Finding, value: float) -> str:
    column = finding.claim.endpoint.name
    return f"{value:.3g}" if column == SURVIVAL else show_column(column, value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
