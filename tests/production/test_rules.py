"""The rules gate: every rule on cases worked out by hand, and every way in which it must promote nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.errors import ScenarioError
from simulator.production.gate import GateView
from simulator.production.rules import RulesGate, read_rules

Write = Callable[..., RulesGate]

_VIEW = GateView(period=5, candidate=4, champion=3, candidate_accuracy=0.86, champion_accuracy=0.88)
_KEPT = replace(_VIEW, candidate=None, candidate_accuracy=None)
_FIRST = GateView(period=0, candidate=0, champion=None, candidate_accuracy=0.8)
_ACCURATE = "{number: candidate_accuracy, at_least: 0.8}"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return the gate of a file that holds these rules, one a line."""

    def make(*rules: str) -> RulesGate:
        text = "".join(f"- {rule}\n" for rule in rules) + "...\n"
        (tmp_path / "promotion.yaml").write_text(text, encoding="utf-8")
        return RulesGate(file=str(tmp_path / "promotion.yaml"))

    return make


@pytest.mark.parametrize(
    ("rule", "changes", "action"),
    [
        (_ACCURATE, {}, "promoted"),
        (_ACCURATE, {"candidate_accuracy": 0.8}, "promoted"),
        (_ACCURATE, {"candidate_accuracy": 0.798}, "rejected"),
        ("{number: accuracy_change, at_least: -0.02}", {}, "promoted"),  # 0.86 - 0.88 is below -0.02 by rounding
        ("{number: accuracy_change, at_least: -0.02}", {"champion_accuracy": 0.882}, "rejected"),
        ("{number: champion_accuracy, at_most: 0.9}", {}, "promoted"),
        ("{number: champion_accuracy, at_most: 0.87}", {}, "rejected"),
        # 0.9 - 0.6 is above 0.3 by rounding
        (
            "{number: accuracy_change, at_most: 0.3}",
            {"candidate_accuracy": 0.9, "champion_accuracy": 0.6},
            "promoted",
        ),
        ("{number: accuracy_change, at_least: -1, at_most: 0}", {}, "promoted"),
        ("{number: accuracy_change, at_least: 0, at_most: 1}", {}, "rejected"),
        ("{inspectors: passed}", {"inspected": ("a",)}, "promoted"),
        ("{inspectors: passed}", {"inspected": ("a", "b"), "candidate_flagged": ("b",)}, "rejected"),
        ("{inspectors: passed}", {"inspected": ("a",), "failed": ("b",)}, "rejected"),
        ("{inspectors: passed}", {}, "error"),  # nobody looked
        (_ACCURATE, {"candidate_accuracy": None, "champion_accuracy": None}, "error"),
        ("{number: accuracy_change, at_least: -1}", {"champion_accuracy": None}, "error"),
        # agreement is known when a candidate comes out of its shadow, and asked for only then
        ("{number: agreement, at_least: 0.7}", {"shadow": "passed", "agreement": 0.7}, "promoted"),
        ("{number: agreement, at_least: 0.7}", {"shadow": "passed", "agreement": 0.69}, "rejected"),
        ("{number: agreement, at_least: 0.7}", {"shadow": "passed"}, "error"),
        ("{number: agreement, at_least: 0.7}", {"shadow": "ahead"}, "promoted"),
        ("{number: agreement, at_least: 0.7}", {}, "error"),
        # a shadow ahead puts off no other rule
        (_ACCURATE, {"shadow": "ahead", "candidate_accuracy": 0.798}, "rejected"),
    ],
)
def test_one_rule(write: Write, rule: str, changes: dict[str, object], action: str) -> None:
    judgement = write(rule).judge(replace(_VIEW, **changes))  # type: ignore[arg-type]
    assert (judgement.action, judgement.serving) == (action, 4 if action == "promoted" else 3)


def test_every_rule_must_hold(write: Write) -> None:
    rules = (_ACCURATE, "{number: accuracy_change, at_least: 0}", "{inspectors: passed}")
    inspected = replace(_VIEW, inspected=("a",))
    judgement = write(*rules).judge(inspected)
    assert judgement.action == "rejected"
    assert judgement.why.endswith(": accuracy_change -0.020 is not at least 0")
    assert write(*rules).judge(replace(inspected, champion_accuracy=0.86)).action == "promoted"


def test_the_judgement_names_the_file_and_holds_its_numbers(write: Write) -> None:
    gate = write(_ACCURATE, "{number: accuracy_change, at_least: -0.5}")
    sha256 = hashlib.sha256(Path(gate.file).read_bytes()).hexdigest()
    judgement = gate.judge(_VIEW)
    found = "candidate_accuracy 0.860 is at least 0.8; accuracy_change -0.020 is at least -0.5"
    assert judgement.why == f"rules {sha256[:12]}: {found}"
    assert judgement.numbers == {
        "candidate_accuracy": 0.86,
        "champion_accuracy": 0.88,
        "accuracy_change": pytest.approx(-0.02),
        "candidate_accuracy_at_least": 0.8,
        "accuracy_change_at_least": -0.5,
    }


def test_the_file_is_read_again_at_every_judgement(write: Write) -> None:
    gate = write(_ACCURATE)
    assert gate.judge(_VIEW).action == "promoted"
    write("{number: candidate_accuracy, at_least: 0.9}")
    assert gate.judge(_VIEW).action == "rejected"
    Path(gate.file).unlink()
    assert gate.judge(_VIEW).action == "error"


def test_without_a_candidate_nothing_is_read(tmp_path: Path) -> None:
    judgement = RulesGate(file=str(tmp_path / "none.yaml")).judge(_KEPT)
    assert (judgement.action, judgement.serving, judgement.why) == ("kept", 3, "no candidate")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (_ACCURATE, "nothing against it"),
        ("{number: candidate_accuracy, at_least: 0.9}", "candidate_accuracy 0.800 is not at least 0.9"),
        (
            "{number: accuracy_change, at_least: 0}",
            "expected accuracy_change to be measured, got no value; there is no champion yet",
        ),
        ("{number: accuracy, at_least: 0}", "choose one of them"),
    ],
)
def test_the_first_version_serves_whatever_the_verdict(write: Write, rule: str, said: str) -> None:
    judgement = write(rule).judge(_FIRST)
    assert (judgement.action, judgement.serving) == ("promoted", 0)
    assert judgement.why.startswith("the first version serves whatever the verdict: ")
    assert judgement.why.endswith(said)


#: what the file holds -> the sentence's end
BAD: list[tuple[bytes, str]] = [
    (b"", "got it without; a torn file would otherwise pass for one with fewer rules: write it again, or add the line"),
    (b"- {number: candidate_accuracy, at_le", "got it without; a torn file would otherwise pass"),
    (b"- {number: candidate_accuracy, at_least: 0.8}\n", "got it without; a torn file would otherwise pass"),
    (b"...\n", "expected YAML, got .* in line 1, column 1; correct it"),
    (b"[]\n...\n", r"to be a list of rules, at least one, got \[\]; add some"),
    (b"number: agreement\n...\n", "to be a list of rules, at least one, got .*; add some"),
    (b"- {number: candidate_accuracy\n...\n", "expected YAML, got .* in line 2, column 1; correct it"),
    (b"\xff\xfe\n...\n", "got bytes that are not UTF-8; make it readable text"),
    (b"- !!python/object:os.system {}\n...\n", "expected YAML, got could not determine a constructor"),
    (b"- agreement\n...\n", r"rule 1: expected a mapping, got 'agreement'; write \{number: NAME, at_least: VALUE\}"),
    (
        b"- {number: candidate_accuracy, atleast: 1}\n...\n",
        "rule 1: expected a key that a rule knows, got 'atleast'; did you mean 'at_least'?",
    ),
    (b"- {number: acuracy, at_least: 1}\n...\n", "rule 1: expected number to be .*, got 'acuracy'; choose one of them"),
    (b"- {number: agreement, at_least: '1'}\n...\n", "rule 1: expected at_least to be a number, got '1'; write one"),
    (b"- {number: agreement, at_least: 1.5}\n...\n", "rule 1: expected at_least to be at most 1.0, got 1.5; lower it"),
    (b"- {number: agreement, at_least: .nan}\n...\n", "rule 1: expected at_least to be .*, got NaN"),
    (b"- {number: agreement}\n...\n", "rule 1: expected either number with at_least or at_most, or inspectors, got "),
    (b"- {at_least: 1}\n...\n", "rule 1: expected either number with .*, got at_least; write"),
    (b"- {}\n...\n", "rule 1: expected either number with .*, got nothing; write"),
    (b"- {inspectors: passed, at_least: 1}\n...\n", "rule 1: expected either number with .*, or inspectors, got "),
    (b"- {inspectors: passed, number: agreement, at_least: 1}\n...\n", "rule 1: expected either number with "),
    (b"- {inspectors: flagged}\n...\n", "rule 1: expected inspectors to be 'passed', got 'flagged'; choose one"),
]


@pytest.mark.parametrize(
    ("content", "sentence"),
    BAD,
    ids=[
        "empty",
        "torn",
        "without an end",
        "its end alone",
        "an empty list",
        "a mapping",
        "torn within a rule",
        "not UTF-8",
        "a call",
        "a rule of text",
        "an unknown key",
        "an unknown number",
        "a bound of text",
        "a bound above one",
        "a bound that is no number",
        "a number alone",
        "a bound alone",
        "an empty rule",
        "inspectors and a bound",
        "inspectors and a number",
        "inspectors that flagged",
    ],
)
def test_a_file_that_is_no_list_of_rules_promotes_nothing(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "promotion.yaml"
    file.write_bytes(content)
    with pytest.raises(ScenarioError, match=sentence):
        read_rules(str(file))
    judgement = RulesGate(file=str(file)).judge(_VIEW)
    assert (judgement.action, judgement.serving) == ("error", 3)
    assert "\n" not in judgement.why


@pytest.mark.parametrize("content", [b"- {number: candidate_accuracy, at_least: 0.8}\n- {inspectors: passed}\n...\n"])
def test_no_torn_beginning_of_a_file_promotes(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "promotion.yaml"
    for length in range(len(content) - 1):  # the last byte is the line end after the mark
        file.write_bytes(content[:length])
        assert RulesGate(file=str(file)).judge(replace(_VIEW, inspected=("a",))).action == "error"
    file.write_bytes(content)
    assert RulesGate(file=str(file)).judge(replace(_VIEW, inspected=("a",))).action == "promoted"


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(
        ScenarioError, match=r"expected the promotion rules in '.*none\.yaml', got no such file; put it"
    ):
        read_rules(str(tmp_path / "none.yaml"))
    with pytest.raises(ScenarioError, match=r"got Is a directory; make it readable text"):
        read_rules(str(tmp_path))
    assert RulesGate(file=str(tmp_path)).judge(_VIEW).action == "error"


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "promotion.yaml").write_text("- {inspectors: x}\n- {number: x}\n...\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"(?s)rule 1: .*\n.*rule 2: "):
        read_rules(str(tmp_path / "promotion.yaml"))
