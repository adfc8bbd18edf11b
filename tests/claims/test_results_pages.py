"""README and docs say of the studies what their verdicts bear, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simulator.study.document.results import claims_text, results_text, with_results
from simulator.study.load import load_study

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
STUDIES = ("permanence", "permanence-attackers", "permanence-cifar10", "permanence-digits", "permanence-resnet20")
#: sentences that earlier pages had, and that no verdict bore
UNBORNE = (
    "back and forth do not",
    "back and forth does not help",
    "hardly faster than a linear decay",
    r"less than\s+three updates",
    "clearly outlives BadNets",
    "outlives BadNets clearly",
    "no survival past one update",
    "24 claims",
    "Hedges' g",
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_result_blocks_are_what_the_verdicts_say(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == with_results(text, DOCS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_says_what_no_verdict_bears(page: Path) -> None:
    text = page.read_text("utf-8")
    assert [words for words in UNBORNE if re.search(words, text, re.IGNORECASE)] == []


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_page_has_its_verdicts_beside_it_or_says_that_it_is_superseded(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text("utf-8")
    path = DOCS / "verdicts" / f"{name}.json"
    if not path.exists():
        assert "**Superseded.**" in text
        assert "**Reading it.**" not in text
        return
    verdicts = json.loads(path.read_text("utf-8"))
    assert [claim["id"] for claim in verdicts["claims"]] == [claim.id for claim in load_study(name).claims]
    for claim in verdicts["claims"]:
        row = next(line for line in text.splitlines() if line.startswith(f"| [{claim['id']}]("))
        assert f"**{claim['verdict']}**" in row
        assert claim["sentence"].replace("|", "\\|") in row


def test_the_readme_has_the_results_of_the_permanence_study() -> None:
    assert "<!-- results of permanence -->" in (ROOT / "README.md").read_text("utf-8")


def claim(name: str, verdict: str) -> dict[str, Any]:
    return {"id": name, "sentence": f"Sentence {name}.", "verdict": verdict}


def test_results_by_hand(tmp_path: Path) -> None:
    claims = [claim("a", "holds"), claim("b", "undecided"), claim("c", "holds"), claim("d", "fails")]
    text = results_text("tiny", {"claims": claims})
    assert text.startswith("Of 4 claims: 2 hold, 1 fail, 1 undecided.\n\nHolds:\n\n- a: Sentence a.\n- c: Sentence c.")
    assert "Undecided:\n\n- b: Sentence b." in text
    page = "One.\n<!-- results of tiny -->\nA lie.\n<!-- end of results -->\nTwo.\n"
    assert "has not been played" in with_results(page, tmp_path)
    (tmp_path / "verdicts").mkdir()
    (tmp_path / "verdicts" / "tiny.json").write_text(json.dumps({"claims": claims}))
    filled = with_results(page, tmp_path)
    assert filled == f"One.\n<!-- results of tiny -->\n{text}\n<!-- end of results -->\nTwo.\n"
    assert with_results(filled, tmp_path) == filled


def test_claims_side_by_side_by_hand(tmp_path: Path) -> None:
    share = {"estimate": 0.5, "endpoint": {"unit": "of seeds"}, "pairs": 12}
    points = {"estimate": -0.123, "endpoint": {"unit": "share"}, "pairs": 9}
    first = {"claims": [{**claim("1-a", "holds"), **share}, {**claim("1-b", "fails"), **points}]}
    second = {"claims": [{**claim("1-a", "undecided"), **share, "estimate": None}]}
    assert claims_text(["1-a", "1-b"], {"one": first, "two": second, "three": None}).splitlines()[2:] == [
        "| 1-a | [one](one.md#1-a) | Sentence 1-a. | **holds** | 50 % of seeds | 12 |",
        "| 1-a | [two](two.md#1-a) | Sentence 1-a. | **undecided** | – | 12 |",
        "| 1-a | three | – | not played | – | – |",
        "| 1-b | [one](one.md#1-b) | Sentence 1-b. | **fails** | -12.3 points | 9 |",
        "| 1-b | three | – | not played | – | – |",
    ]
    (tmp_path / "verdicts").mkdir()
    (tmp_path / "verdicts" / "one.json").write_text(json.dumps(first))
    page = "<!-- claims 1-b of one -->\nA lie.\n<!-- end of claims -->\n"
    table = claims_text(["1-b"], {"one": first})
    assert with_results(page, tmp_path) == f"<!-- claims 1-b of one -->\n{table}\n<!-- end of claims -->\n"
