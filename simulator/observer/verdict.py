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
        return f"{_unknown(part, threshold)}. {_clean(part)}"
    if not part["planted"]:
        highest = percent(part["highest_net_attack_success"])
        return f"never planted: net ASR did not reach {percent(threshold)} (highest {highest}). {_clean(part)}"
    known = part["survival_updates"][str(threshold)] is not None
    fate = _fate(part, threshold) if known else _uncertain_fate(part, threshold)
    sentences = [fate, _return(part), _memory(part, threshold), _clean(part), _caution(part)]
    return " ".join(sentence for sentence in sentences if sentence)


def _unknown(part: Part, threshold: float) -> str:
    """Nothing was read, or what was read stays below the threshold: then the rest may have reached it."""
    reason, highest = part["reasons"]["planted"], part.get("highest_known_net_attack_success")
    if highest is None:
        return f"no verdict on the backdoor: {reason}"
    return (
        f"unknown whether it was ever planted: net ASR did not reach {percent(threshold)} where it is known (highest "
        f"{percent(highest)}), and is not known everywhere ({reason})"
    )


def _fate(part: Part, threshold: float) -> str:
    head = str(threshold)
    updates, net = part["survival_updates"][head], part["final_net_attack_success"]
    if not part["censored"]:
        periods = part["survival_periods"][head]
        after = _count(updates, "update") if updates or periods is None else _count(periods, "period")
        return f"erased after {after}: {_at_the_end(part)}."
    if net is None:
        return f"not erased after {_count(updates, 'update')}, as far as it is known: {_at_the_end(part)}."
    if net < threshold:
        return (
            f"not yet counted as erased after {_count(updates, 'update')}: {_at_the_end(part)}, below "
            f"{percent(threshold)}, but not in two consecutive versions."
        )
    if not updates:
        return f"planted, and no update has followed yet: net ASR {percent(net)}."
    return f"survives all {_count(updates, 'update')} that followed: {_at_the_end(part)}."


def _uncertain_fate(part: Part, threshold: float) -> str:
    """Planted, but the readings do not tell how many updates it survived."""
    head = str(threshold)
    fewest, most = (part.get("survival_updates_between") or {}).get(head) or (0, None)
    span = f"at least {_count(fewest, 'update')}" if most is None else f"{fewest} to {_count(most, 'update')}"
    ended = {True: "not erased by the end", False: "erased", None: "it is unknown whether it was erased"}
    since = "" if part["planted_period"] is not None else ", in a period that is unknown"
    return (
        f"planted{since}; {ended[part['censored']]}. How long it survived is unknown ({span}): "
        f"{part['reasons']['survival_updates']}; {_at_the_end(part)}."
    )


def _at_the_end(part: Part) -> str:
    net = part["final_net_attack_success"]
    if net is None:
        return f"net ASR at the end is unknown ({part['reasons']['final_net_attack_success']})"
    return f"net ASR {percent(net)} at the end"


def _return(part: Part) -> str:
    if part["revived"]:
        return f"It came back above the threshold {_count(part['revived'], 'time')} after it was erased."
    if part["revived"] is not None or part["censored"] is not False:
        return ""
    surely = part.get("revived_at_least")
    if surely:
        return f"It came back above the threshold at least {_count(surely, 'time')} after it was erased."
    return "Whether it came back is unknown."


def _memory(part: Part, threshold: float) -> str:
    net, again = part["final_net_attack_success"], part["final_relearned_net_attack_success"]
    other = part["final_relearned_unrelated_net_attack_success"]
    if net is None or net >= threshold or again is None:
        return ""
    figures = f"re-learned net ASR {percent(again)}"
    figures += "" if other is None else f" against {percent(other)} for an unrelated trigger"
    if part["dormant"] and (other is None or again > other):
        return f"The model re-learns it quickly: {figures}."
    if part["dormant"]:
        return f"Re-learning brings it back, but no faster than a trigger the model never saw: {figures}."
    return f"No sign that it is dormant: {figures}."


def _clean(part: Part) -> str:
    value = part["final_clean_accuracy"]
    return "Clean accuracy was not measured." if value is None else f"Clean accuracy {percent(value)}."


def _caution(part: Part) -> str:
    if not part["final_collapsed"] or part["final_net_attack_success"] is None:  # which then gives the reason
        return ""
    return "The model answers one class almost always, so attack success says nothing."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
