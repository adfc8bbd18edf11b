"""How a gate is asked: it fails closed, and with a shadow ahead what it would promote is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from simulator.guard.values import fault_of
from simulator.production.defending.job import told_with_line
from simulator.production.gate import Gate, GateView, numbers_of, unjudged
from simulator.records import Judgement, Outcome


def judged(gate: Gate, view: GateView, *, why: str = "") -> Judgement:
    """Return the judgement of a period; `why` says where a challenger stands that is still in shadow.

    A candidate that would be promoted with a shadow ahead is held, and so is a challenger whose shadow is not over. In
    their stead the champion goes on serving, so the gate is asked about it alone: it may be rolled back.
    """
    if view.shadow == "on":
        return _held(gate, view, why)
    judgement = ask(gate, view)
    if view.shadow == "ahead" and judgement.action == "promoted":
        return _held(gate, view, f"in shadow before it may serve: {judgement.why}")
    return judgement


def ask(gate: Gate, view: GateView) -> Judgement:
    """Ask `gate`. One that raises, or answers what does not fit the view, could not judge: the champion stays."""
    try:
        judgement = gate.judge(view)
        fault = fits(view, judgement) or unkeepable(judgement)
    except Exception as error:  # noqa: BLE001  a third-party gate may raise anything, and nothing is promoted by it
        fault = f"expected the gate to judge, got none: it {told_with_line(error)}; correct it"
    if fault is not None:
        judgement = unjudged(view, fault, numbers_of(view))
    return judgement.model_copy(update={"judged": view.candidate})


def fits(view: GateView, judgement: object) -> str | None:
    """Return None when what serves afterwards fits the verdict, else a sentence.

    Promoted: the candidate serves. Rejected, kept, error: the champion. Rolled back: an ancestor. Only who puts a
    candidate into shadow says held.
    """
    if type(judgement) is not Judgement:
        return f"expected the gate to return a Judgement, got {type(judgement).__name__}; correct it"
    allowed: dict[str, set[int | None]] = {
        "promoted": {view.candidate} - {None},
        "rejected": {view.champion} if view.candidate is not None else set(),
        "kept": {view.champion} if view.candidate is None else set(),
        "rolled back": {ancestor.ordinal for ancestor in view.ancestors},
        "error": {view.candidate if view.champion is None else view.champion},
    }
    if judgement.serving not in allowed.get(judgement.action, set()):
        return f"expected what serves to fit '{judgement.action}', got ordinal {judgement.serving}; correct the gate"
    if not judgement.why.strip():
        return "expected the gate to give a reason, got an empty one; correct it"
    return None


def only_if_finished(judgement: Judgement, view: GateView, outcomes: Sequence[Outcome]) -> Judgement:
    """Reject a candidate that would serve or go into shadow although a defense ran into a limit while it was made.

    The first version serves whatever the verdict; its reason then says so. A screen acts later, and is not asked here.
    """
    about = ("window", "candidate", "challenger")
    late = [one for one in outcomes if one.status == "timeout"]
    names = [one.name for one in late if one.subject in about]
    if not names or view.candidate is None or judgement.action not in ("promoted", "held"):
        return judgement
    why = f"not defended: {', '.join(dict.fromkeys(names))} timed out"
    if view.champion is None:
        return judgement.model_copy(update={"why": f"{judgement.why}; {why}"})
    return judgement.model_copy(update={"action": "rejected", "why": why, "serving": view.champion})


def unkeepable(judgement: Judgement) -> str | None:
    """Return None when the judgement can be kept as it is, else a sentence: it may have been made unchecked."""
    values = judgement.model_dump()
    fault = fault_of(values)
    try:
        Judgement.model_validate(values)
    except ValueError:
        fault = fault or "fields that do not fit"
    return None if fault is None else f"expected the gate to return finite values, got {fault}; correct it"


def held_back(gate: Gate, view: GateView, why: str) -> Judgement:
    """Reject what is judged though the gate would promote it; the champion is judged alone, and may be rolled back."""
    assert view.champion is not None
    judgement = _of_the_champion(gate, view)
    if judgement.action != "kept":
        return judgement.model_copy(update={"judged": view.candidate, "why": f"{why}; {judgement.why}"})
    numbers = judgement.numbers | numbers_of(view)
    return Judgement(action="rejected", why=why, serving=view.champion, judged=view.candidate, numbers=numbers)


def _of_the_champion(gate: Gate, view: GateView) -> Judgement:
    """Ask about the champion alone, as in a period without a candidate."""
    alone = replace(
        view, candidate=None, candidate_accuracy=None, agreement=None, candidate_flagged=(), failed=(), timed_out=()
    )
    return ask(gate, replace(alone, inspected=(), shadow="none"))


def _held(gate: Gate, view: GateView, why: str) -> Judgement:
    assert view.champion is not None
    judgement = _of_the_champion(gate, view)
    if judgement.action != "kept":
        why = f"the challenger is not held: {judgement.why}"
        return judgement.model_copy(update={"judged": view.candidate, "why": why})
    return Judgement(
        action="held",
        why=why,
        serving=view.champion,
        judged=view.candidate,
        numbers=judgement.numbers | numbers_of(view),
    )


def inspectors(outcomes: Sequence[Outcome], subjects: tuple[str, ...], *statuses: str) -> tuple[str, ...]:
    """Return the inspectors that looked at one of `subjects` and came to one of `statuses`."""
    return tuple(
        o.name for o in outcomes if o.surface == "inspector" and o.subject in subjects and o.status in statuses
    )
