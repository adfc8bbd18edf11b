"""The report of a run: one self-contained HTML file that prints to paper and embeds aggregates only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from simulator.observer.measures import DASH, MEASURES, percent, show, spans
from simulator.observer.report.columns import (
    COLUMNS,
    Column,
    cells,
    done,
    footnotes,
    own_columns,
    shortened,
    version_numbers,
)
from simulator.observer.report.defense_notes import defense_notes
from simulator.observer.report.environment_rows import environment_rows
from simulator.observer.report.looks import brief, defenses_of, request_of
from simulator.observer.report.plots import time_line
from simulator.observer.report.reasons import grouped_reasons
from simulator.observer.report.style import as_data
from simulator.observer.rows import evident
from simulator.observer.run_export import FILES, RunExport
from simulator.observer.verdict import verdicts

#: rows of one table on the page; the rest is in `periods.jsonl`
LIMIT = 60
#: arms side by side in one picture
_SIDE_BY_SIDE = 3


def report(run: RunExport) -> str:
    """Return the page of a run. The template holds all wording but the verdict and the definitions."""
    alarms = [row for arm in run.arms for row in run.lineage(arm) if row["drift_alarm"]]
    decisions = _decisions(run)
    own = own_columns([row for arm in run.arms for row in run.lineage(arm)])
    columns = (*COLUMNS, *own)
    outcomes = sum(len(row["outcomes"]) for arm in run.arms for row in run.lineage(arm))
    return (
        environment("simulator.observer.report")
        .get_template("report.html.j2")
        .render(
            about=run.about,
            scenario=run.scenario,
            scenario_text=yaml.safe_dump(dict(run.scenario), sort_keys=False, allow_unicode=True),
            verdicts=verdicts(run.summary),
            key_figures=[
                _key_figures(arm, part, diverged=arm in run.summary.get("diverged", {}))
                for arm, part in run.summary["arms"].items()
            ],
            missing=grouped_reasons(run.summary["arms"]),
            columns=columns,
            tables=[_versions(run, arm, columns) for arm in run.arms],
            pictures=_pictures(run),
            alarms=alarms[:LIMIT],
            alarms_left_out=max(0, len(alarms) - LIMIT),
            decisions=decisions[:LIMIT],
            decisions_left_out=max(0, len(decisions) - LIMIT),
            quiet=outcomes - len(decisions),
            notes=defense_notes(run),
            gates=_gates(run)[:LIMIT],
            defenses=defenses_of(run),
            environment=environment_rows(run.about),
            measures=MEASURES,
            own_readings=[column.title for column in own],
            threshold=run.summary["threshold"],
            files=FILES,
        )
    )


@cache
def environment(package: str) -> Environment:
    """Return the environment of the HTML templates in `package`, with the filters `show(key)` and `percent`."""
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"show": lambda value, key: show(key, value), "percent": percent}
    return made


def _versions(run: RunExport, arm: str, columns: Sequence[Column]) -> dict[str, Any]:
    """Return an arm's table: cells by row, which rows raised an alarm, `cut` after which row `left_out` are missing."""
    rows, left_out = shortened(evident(run.lineage(arm), run.lineage(arm, "paced")), LIMIT)
    alarms = [row["drift_alarm"] for row in rows]
    texts, notes = [cells(row, columns) for row in rows], footnotes(rows, columns)
    table = {"arm": arm, "rows": texts, "alarms": alarms, "notes": notes}
    return table | {"left_out": left_out, "cut": LIMIT // 2}


def _key_figures(arm: str, part: Mapping[str, Any], *, diverged: bool) -> dict[str, Any]:
    """Return one row of the arms' comparison, as texts."""
    survival = part["survival_updates"][next(iter(part["survival_updates"]))]
    lived = f"{'more than ' if part['erased'] is False else ''}{survival}"
    if survival is None:
        lived = "not planted" if part["planted"] is False else "unknown"
    exposure, other = part["exposure"], part["final_relearned_unrelated_net_attack_success"]
    return {
        "arm": arm,
        "survival": "diverged" if diverged else DASH if part["planted"] is None else lived,
        "state": DASH if diverged or part["planted"] is None else part["state"],
        "revived": DASH if part["revived"] is None else part["revived"],
        "dormant": {None: DASH, True: "yes", False: "no"}[part["dormant"]],
        "exposure": DASH if exposure is None else f"{exposure:.2f}",
        "clean": show("clean_accuracy", part["final_clean_accuracy"]),
        "net": show("net_attack_success", part["final_net_attack_success"]),
        "relearned": show("relearned_net_attack_success", part["final_relearned_net_attack_success"]),
        "unrelated": show("relearned_unrelated_net_attack_success", other),
        "delay": DASH if part["alarm_delay"] is None else part["alarm_delay"],
        "false": DASH if part["false_alarms"] is None else f"{part['false_alarms']} of {part['undrifted_periods']}",
        "seconds": f"{part['seconds']:.1f}",
    }


def _pictures(run: RunExport) -> list[dict[str, Any]]:
    """Return the time line as pictures of at most three arms, as data that the page embeds."""
    groups = [run.arms[i : i + _SIDE_BY_SIDE] for i in range(0, len(run.arms), _SIDE_BY_SIDE)]
    return [{"arms": group, "data": as_data(time_line(run, group))} for group in groups]


def _decisions(run: RunExport) -> list[dict[str, Any]]:
    """Return what the defenses found, changed, asked for or failed at, in order of arms and periods."""
    found = []
    for arm in run.arms:
        numbers = version_numbers(run.lineage(arm))
        for row in run.lineage(arm):
            for outcome in row["outcomes"]:
                asked = [request_of(one, numbers) for one in outcome.get("requests", ())]
                if asked or outcome["status"] not in ("passed", "skipped"):
                    evidence = brief(outcome["evidence"])
                    about = {"arm": arm, "period": row["period"], "evidence": evidence, "requests": asked}
                    found.append({**outcome, **about})
    return found


def _requests(arm: str, row: Mapping[str, Any], numbers: Mapping[int, int]) -> list[str]:
    """Return what defenses asked for in a period, and what became of it."""
    found = []
    for outcome in row["outcomes"]:
        for asked in (request_of(one, numbers) for one in outcome.get("requests", ())):
            what = f"{outcome['name']} asked for a {asked['what']} – {asked['reason']}"
            found.append(f"{arm}, period {row['period']}: {what}; {asked['became']}: {asked['why']}")
    return found


def _gates(run: RunExport) -> list[str]:
    """Return what kept a candidate from serving or took a champion away, and what defenses and operators asked for."""
    found = [
        f"{one['line']}, before period {one['period']}: third-party code changed – {', '.join(one['changed'])}"
        for one in run.about.get("code_changed", [])
    ]
    for arm in run.arms:
        numbers = version_numbers(run.lineage(arm))
        for row in run.lineage(arm):
            for one in row.get("from_outside", []):
                to = "" if one["to"] is None else f" to version {numbers.get(one['to'], one['to'] + 1)}"
                found.append(f"{arm}, before period {row['period']}: {one['kind']}{to} from outside – {one['reason']}")
            found.extend(_requests(arm, row, numbers))
            if done(row) in ("rejected", "held", "error", "rolled back"):
                found.append(f"{arm}, period {row['period']}: {row['action']} – {row['action_why']}")
            if "replay" in row:
                found.append(f"{arm}, period {row['period']}: {_replay(row['replay'])}")
    return found


def _replay(change: Mapping[str, list[int]]) -> str:
    """Return what a roll-back or a purge changed of the rows that may be replayed."""
    told = {
        "left": "are not replayed any more",
        "returned": "may be replayed again",
        "kept": "are replayed all the same",
        "purged": "were purged",
    }
    texts = [f"rows of period {spans(change[key])} {text}" for key, text in told.items() if change.get(key)]
    return f"replay: {'; '.join(texts)}"
