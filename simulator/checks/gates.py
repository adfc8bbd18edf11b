"""Gates: what serves afterwards is one of the versions shown, and fits the verdict."""

from __future__ import annotations

import itertools

from simulator.checks.subject import Subject, expect, quiet
from simulator.production.gate import Ancestor, GateView
from simulator.production.judging import fits


def verdict_fits_what_serves(subject: Subject) -> None:
    """Promoted: the candidate serves. Rejected, kept, error: the champion. Rolled back: an ancestor."""
    for view in _views():
        judgement = quiet(lambda: subject.make().judge(view))  # noqa: B023
        fault = fits(view, judgement)
        expect(fault is None, f"{fault} (shown {view})")


def version_0_always_serves(subject: Subject) -> None:
    """In period 0 there is no champion, and the base model serves whatever the verdict."""
    for flagged in ((), ("an inspector",)):
        judgement = subject.make().judge(GateView(0, 0, None, 0.1, None, candidate_flagged=flagged))
        expect(judgement.serving == 0, f"expected the champion, of ordinal 0, to serve, got {judgement.serving}")


def same_view_same_judgement(subject: Subject) -> None:
    """A gate that has judged before judges as a fresh one does."""
    gate = subject.make()
    for view in _views():
        first, again, fresh = gate.judge(view), gate.judge(view), subject.make().judge(view)
        expect(first == again == fresh, f"expected one judgement for one view, got {first}, {again} and {fresh}")


def _views() -> list[GateView]:
    """Return views of all kinds of candidates, with every verdict on both models, with ancestors and without."""
    candidates: tuple[tuple[int | None, float | None], ...] = ((None, None), (2, 0.9), (2, 0.2), (2, None))
    ancestors = ((), (Ancestor(0, 0.95),), (Ancestor(0, 0.95, flagged=True), Ancestor(7, None)))
    verdicts: tuple[tuple[str, ...], ...] = ((), ("an inspector",))
    return [
        GateView(3, candidate, 1, accuracy, None if accuracy is None else 0.8, older, on_candidate, on_champion, failed)
        for (candidate, accuracy), older, on_candidate, on_champion, failed in itertools.product(
            candidates, ancestors, verdicts, verdicts, verdicts
        )
    ]
