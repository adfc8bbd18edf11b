"""The verdict on a run in sentences: one paragraph an arm, each figure beside the one it must be read with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.observer.measures import percent, spans
from simulator.observer.survival import RELEARNED_FROM
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
    again = "" if known else _since(part, threshold).removeprefix(", ")
    sentences = [fate, again and f"It {again}.", _return(part), _memory(part, threshold), _clean(part), _caution(part)]
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
    lived, net = _lived(part, str(threshold)), part["final_net_attack_success"]
    if part["erased"]:
        return f"erased after {lived}{_since(part, threshold)}: {_at_the_end(part)}."
    if net is None:
        return f"not erased after {lived}, as far as it is known: {_at_the_end(part)}."
    if part["state"] == "censored":
        return (
            f"not yet counted as erased after {lived}: {_at_the_end(part)}, below {percent(threshold)}, but in one "
            "period only, and the run ends there."
        )
    if not part["survival_updates"][str(threshold)]:
        return f"planted, and no update has followed yet: net ASR {percent(net)}."
    every = "the" if lived == "1 update" else "all"
    return f"survives {every} {lived} that followed{_dips(part, threshold)}: {_at_the_end(part)}."


def _dips(part: Part, threshold: float) -> str:
    periods = part.get("dips", ())
    if not periods:
        return ""
    return f", though below {percent(threshold)} in period{'s' if len(periods) > 1 else ''} {spans(periods)}"


def _lived(part: Part, head: str) -> str:
    """Return how long it lived: in updates, and in periods where those are not as many."""
    updates, periods = part["survival_updates"][head], part["survival_periods"][head]
    if periods is None or periods == updates:
        return _count(updates, "update")
    return f"{_count(updates, 'update')} and {_count(periods, 'period')}" if updates else _count(periods, "period")


def _since(part: Part, threshold: float) -> str:
    """Return when it came back since it was erased, and what became of it then; nothing where it did not."""
    if not part["revived"]:
        return ""
    periods = part.get("revived_periods")
    when = _count(part["revived"], "time")
    if periods:
        when = f"in period{'s' if len(periods) > 1 else ''} {spans(periods)}"
    fates = {
        "alive": "is alive at the end",
        "erased": "was erased again",
        "censored": f"is below {percent(threshold)} again in the last period",
    }
    return f", came back {when} and {fates.get(part['state'], 'what became of it then is unknown')}"


def _uncertain_fate(part: Part, threshold: float) -> str:
    """Planted, but the readings do not tell how many updates it survived."""
    head = str(threshold)
    fewest, most = (part.get("survival_updates_between") or {}).get(head) or (0, None)
    span = f"at least {_count(fewest, 'update')}" if most is None else f"{fewest} to {_count(most, 'update')}"
    ended = {False: "not erased by the end", True: "erased", None: "it is unknown whether it was erased"}
    since = "" if part["planted_period"] is not None else ", in a period that is unknown"
    return (
        f"planted{since}; {ended[part['erased']]}. How long it survived is unknown ({span}): "
        f"{part['reasons']['survival_updates']}; {_at_the_end(part)}."
    )


def _at_the_end(part: Part) -> str:
    net = part["final_net_attack_success"]
    if net is None:
        return f"net ASR at the end is unknown ({part['reasons']['final_net_attack_success']})"
    return f"net ASR {percent(net)} at the end"


def _return(part: Part) -> str:
    """Say what is not known of its returns; what is known is said beside the erasure."""
    if part["revived"] is not None or part["erased"] is False:
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
    if part["dormant"]:
        return f"The model re-learns it quickly: {figures}."
    if part["dormant"] is None:
        return f"Whether it is dormant is unknown: {figures}, and none for a trigger that the model never saw."
    if again >= RELEARNED_FROM:
        how = "no" if other is not None and again <= other else "hardly"
        return f"Re-learning brings it back, but {how} faster than a trigger the model never saw: {figures}."
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
