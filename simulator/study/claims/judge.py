"""All claims of a study, judged together: p is corrected over every claim that was written down."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.study.claims.field import Field
from simulator.study.claims.values import JudgedClaim, StudyVerdicts
from simulator.study.claims.weigh import weigh_beside, weigh_claim
from simulator.study.model import Study
from simulator.study.statistics.weigh import decide
from simulator.study.timelines import PlayedTimeline

__all__ = ["verdicts"]


def verdicts(study: Study, played: Sequence[PlayedTimeline]) -> StudyVerdicts:
    """Return a verdict for each claim of `study`, in its order, from the timelines that were `played`.

    A claim whose settings were not played, or that has no pair of values, is undecided with the reason, and counts in
    the correction all the same: else a claim could be helped by leaving out another. Intervals have the confidence
    1 - alpha, or the most that the pairs allow.
    """
    field, level = Field.of(played), 1 - study.alpha
    weighed = [weigh_claim(spec, field, level) for spec in study.claims]
    judged = decide([one.finding for one in weighed], study.alpha) if weighed else ()
    claims = [
        JudgedClaim(spec, one, verdict, tuple((item, weigh_beside(spec, item, field, level)) for item in spec.beside))
        for spec, one, verdict in zip(study.claims, weighed, judged, strict=True)
    ]
    return StudyVerdicts(study.name, study.alpha, tuple(claims))
