"""From the claims of a study and its played timelines to findings and verdicts."""

from simulator.study.claims.sentences import sentence, sentences, to_json
from simulator.study.claims.values import JudgedClaim, SideValues, StudyVerdicts, Value, Weighed
from simulator.study.claims.weigh import verdicts

__all__ = [
    "JudgedClaim",
    "SideValues",
    "StudyVerdicts",
    "Value",
    "Weighed",
    "sentence",
    "sentences",
    "to_json",
    "verdicts",
]
