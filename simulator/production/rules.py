"""Promotion by rules in an operator's file: every rule must hold, and what cannot be judged is not promoted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulator.errors import ScenarioError
from simulator.production.gate import Gate, GateView, first, numbers_of, stay, unheard, unjudged
from simulator.records import Judgement
from simulator.scenario.limits import read_bounded
from simulator.scenario.sentences import near, sentences, shown
from simulator.scenario.text import parse

Bound = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]

#: accuracies are fractions of a count: a value equal to its bound must not fail by rounding
_ROUNDING = 1e-9
#: last line of a complete file, YAML's mark for the end: a file that was cut off lacks it
_END = "..."


class Rule(BaseModel):
    """`{number: NAME, at_least: X, at_most: Y}`, with one bound or both, or `{inspectors: passed}`.

    `candidate_accuracy`, `champion_accuracy`: shares of the current trusted images that are classified as labelled;
    `accuracy_change`: the candidate's minus the champion's; `agreement`: share of a challenger's predictions in shadow
    that were the champion's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    number: Literal["candidate_accuracy", "champion_accuracy", "accuracy_change", "agreement"] | None = None
    at_least: Bound | None = None
    at_most: Bound | None = None
    inspectors: Literal["passed"] | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a file; `sha256` is that of its bytes."""

    rules: tuple[Rule, ...]
    sha256: str


class _Unknown(Exception):
    """Says why a rule cannot be judged."""


@final
@dataclass(frozen=True, kw_only=True)
class RulesGate(Gate):
    """Promotes a candidate for which every rule in the YAML file `file` holds.

    The file is read at every judgement, so that it may be edited while a run goes on; the reason names the beginning of
    its SHA-256. A missing, incomplete or malformed file, an undefined number, and a rule on inspectors when none looked
    make the judgement `error`: the champion stays. In a period without a candidate nothing is judged or read.
    A rule on `agreement` waits until a candidate comes out of its shadow. The champion is never rolled back.

    >>> RulesGate(file="no-such-file.yaml").judge(GateView(period=2, candidate=2, champion=1)).why
    "expected the promotion rules in 'no-such-file.yaml', got no such file; put it there"
    """

    file: str

    example: ClassVar[dict[str, Any]] = {"file": "no-such-file.yaml"}

    def judge(self, view: GateView) -> Judgement:
        numbers = _numbers(view)
        if view.candidate is None:
            return stay(view, ["no candidate"], numbers)
        try:
            read = read_rules(self.file)
        except ScenarioError as error:
            return unjudged(view, "; ".join(str(error).splitlines()), numbers)
        due = [rule for rule in read.rules if not (rule.number == "agreement" and view.shadow == "ahead")]
        numbers |= _bounds(due)
        name = f"rules {read.sha256[:12]}"
        try:
            findings = [finding for rule in due for finding in _findings(rule, view, numbers)]
        except _Unknown as error:
            return unjudged(view, f"{name}: {error}", numbers)
        return _verdict(view, name, findings, numbers)


def read_rules(file: str) -> Rules:
    """Return the rules in `file`, or raise `ScenarioError` with every mistake in it, one a line."""
    try:
        data = read_bounded(Path(file).expanduser())
        text = data.decode("utf-8")
    except FileNotFoundError:
        raise ScenarioError(f"expected the promotion rules in '{file}', got no such file; put it there") from None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise ScenarioError(f"expected the promotion rules in '{file}', got {said}; make it readable text") from None
    if text.rstrip().rpartition("\n")[2] != _END:
        raise ScenarioError(
            f"expected '{file}' to end with the line '{_END}', got it without; a torn file would otherwise pass for "
            "one with fewer rules: write it again, or add the line"
        )
    found = parse(text, file)
    if not isinstance(found, list) or not found:
        raise ScenarioError(f"expected '{file}' to be a list of rules, at least one, got {shown(found)}; add some")
    mistakes = [
        f"{file}: rule {place}: {said}" for place, item in enumerate(found, start=1) for said in _mistakes(item)
    ]
    if mistakes:
        raise ScenarioError("\n".join(mistakes))
    return Rules(tuple(Rule.model_validate(item) for item in found), hashlib.sha256(data).hexdigest())


def _mistakes(item: Any) -> list[str]:
    if not isinstance(item, Mapping):
        return [f"expected a mapping, got {shown(item)}; write {{number: NAME, at_least: VALUE}}"]
    unknown = [key for key in item if key not in Rule.model_fields]
    if unknown:
        hint = near(unknown[0], Rule.model_fields, f"it knows {', '.join(Rule.model_fields)}")
        return [f"expected a key that a rule knows, got '{unknown[0]}'; {hint}"]
    try:
        rule = Rule.model_validate(item)
    except ValidationError as error:
        return sentences(error, item)
    bounds = [bound for bound in (rule.at_least, rule.at_most) if bound is not None]
    whole = bool(bounds) if rule.number is not None else rule.inspectors is not None and not bounds
    if not whole or (rule.number is not None and rule.inspectors is not None):
        return [
            "expected either number with at_least or at_most, or inspectors, "
            f"got {', '.join(item) or 'nothing'}; write {{number: NAME, at_least: VALUE}} or {{inspectors: passed}}"
        ]
    return []


def _numbers(view: GateView) -> dict[str, float]:
    numbers = numbers_of(view)
    if view.candidate_accuracy is not None and view.champion_accuracy is not None:
        numbers["accuracy_change"] = view.candidate_accuracy - view.champion_accuracy
    return numbers


def _bounds(rules: list[Rule]) -> dict[str, float]:
    bounds = {f"{rule.number}_at_least": rule.at_least for rule in rules}
    bounds |= {f"{rule.number}_at_most": rule.at_most for rule in rules}
    return {name: value for name, value in bounds.items() if value is not None}


def _findings(rule: Rule, view: GateView, numbers: Mapping[str, float]) -> list[tuple[bool, str]]:
    """Return whether each part of a rule holds, in words; raise `_Unknown` when that cannot be said."""
    if rule.number is None:
        return [_inspected(view)]
    value = numbers.get(rule.number)
    if value is None:
        raise _Unknown(f"expected {rule.number} to be measured, got no value; {_remedy(rule.number, view)}")
    found = []
    for bound, words, holds in (
        (rule.at_least, "at least", rule.at_least is None or value >= rule.at_least - _ROUNDING),
        (rule.at_most, "at most", rule.at_most is None or value <= rule.at_most + _ROUNDING),
    ):
        if bound is not None:
            found.append((holds, f"{rule.number} {value:.3f} is {'' if holds else 'not '}{words} {bound:g}"))
    return found


def _inspected(view: GateView) -> tuple[bool, str]:
    if view.candidate_flagged:
        return False, f"flagged by {', '.join(view.candidate_flagged)}"
    if view.failed:
        return False, f"not inspected: {unheard(view)}"
    if not view.inspected:
        raise _Unknown("expected an inspector to look at it, got none that did; add one, or remove the rule")
    return True, f"passed by {', '.join(view.inspected)}"


def _remedy(number: str, view: GateView) -> str:
    if number == "agreement":
        return "set shadow.periods, or remove the rule"
    if view.champion is None and number != "candidate_accuracy":
        return "there is no champion yet"
    return "raise trusted.images, or remove the rule"


def _verdict(view: GateView, name: str, findings: list[tuple[bool, str]], numbers: dict[str, float]) -> Judgement:
    against = [words for holds, words in findings if not holds]
    assert view.candidate is not None
    if view.champion is None:
        return first(view, f"{name}: {'; '.join(against) or 'nothing against it'}", numbers)
    if against:
        return stay(view, [f"{name}: {'; '.join(against)}"], numbers)
    why = f"{name}: {'; '.join(words for _, words in findings) or 'no rule is due before the shadow'}"
    return Judgement(action="promoted", why=why, serving=view.candidate, numbers=numbers)
