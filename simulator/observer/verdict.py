"""The verdict on a run in sentences: one paragraph an arm, each figure beside the one it must be read with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.observer.measures import percent
from simulator.records import LineageEnd

Part = Mapping[str, Any]


def verdict(summary: Part) -> str:
    """Return the verdict of a run, one line an arm."""
    return "\n".join(f"{arm}: {text}" for arm, text in verdicts(summary).items())


def verdicts(summary: Part) -> dict[str, str]:
    """Return each arm's verdict; an arm in which training diverged has none, and that is said in its place."""
    threshold, diverged = float(summary["threshold"]), summary.get("diverged", {})
    found = {arm: _arm(part, threshold) for arm, part in summary["arms"].items()}
    for name, end in diverged.items():
        if end["control"] == "none":
            found[name] = _ended(end, summary["arms"].get(name))
        elif end["arm"] not in diverged:
            found[end["arm"]] += f" {_twin_ended(end)}"
    return found


def diverged_sentences(ended: Sequence[LineageEnd]) -> list[str]:
    """Return a sentence for each lineage whose training diverged."""
    return [f"training of '{end.lineage.name}' diverged in period {end.period}: {end.why}" for end in ended]


def _ended(end: Part, part: Part | None) -> str:
    before = "" if part is None else f" After period {part['final_period']}: {_clean(part)}"
    return f"diverged in period {end['period']} and ended there, so there is no verdict: {end['why']}.{before}"


def _twin_ended(end: Part) -> str:
    lost = "net readings" if end["control"] == "paced" else "decisions without the attack to compare with"
    return f"Its {end['control']} twin diverged in period {end['period']}: from then on there are no {lost}."


def _arm(part: Part, threshold: float) -> str:
    if part["planted"] is None:
        return f"no verdict on the backdoor: {part['reasons']['planted']}. {_clean(part)}"
    if not part["planted"]:
        highest = percent(part["highest_net_attack_success"])
        return f"never planted: net ASR did not reach {percent(threshold)} (highest {highest}). {_clean(part)}"
    sentences = [_fate(part, threshold), _return(part), _memory(part, threshold), _clean(part), _caution(part)]
    return " ".join(sentence for sentence in sentences if sentence)


def _fate(part: Part, threshold: float) -> str:
    head = str(threshold)
    updates, net = part["survival_updates"][head], part["final_net_attack_success"]
    ended = "undefined" if net is None else percent(net)
    if not part["censored"]:
        after = _count(updates, "update") if updates else _count(part["survival_periods"][head], "period")
        return f"erased after {after}: net ASR {ended} at the end."
    if net is not None and net < threshold:
        return (
            f"not yet counted as erased after {_count(updates, 'update')}: net ASR {ended} at the end, below "
            f"{percent(threshold)}, but not in two consecutive versions."
        )
    if not updates:
        return f"planted, and no update has followed yet: net ASR {ended}."
    return f"survives all {_count(updates, 'update')} that followed: net ASR {ended} at the end."


def _return(part: Part) -> str:
    if not part["revived"]:
        return ""
    return f"It came back above the threshold {_count(part['revived'], 'time')} after it was erased."


def _memory(part: Part, threshold: float) -> str:
    net, again = part["final_net_attack_success"], part["final_relearned_net_attack_success"]
    other = part["final_relearned_unrelated_net_attack_success"]
    if net is None or net >= threshold or again is None:
        return ""
    figures = f"re-learned net ASR {percent(again)}"
    figures += "" if other is None else f" against {percent(other)} for an unrelated trigger"
    if part["dormant"] and (other is None or again > other):
        return f"Forgotten is not gone: {figures}."
    if part["dormant"]:
        return f"Re-learning brings it back, but no faster than a trigger the model never saw: {figures}."
    return f"No sign that it is dormant: {figures}."


def _clean(part: Part) -> str:
    value = part["final_clean_accuracy"]
    return "Clean accuracy was not measured." if value is None else f"Clean accuracy {percent(value)}."


def _caution(part: Part) -> str:
    return (
        "The model answers one class almost always, so attack success says nothing." if part["final_collapsed"] else ""
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
