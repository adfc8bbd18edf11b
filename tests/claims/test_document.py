"""The document: all its parts, figures with their spread, a person's notes, and nothing of the machine's paths."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.study.claims.weigh import verdicts
from simulator.study.document.words import facts
from simulator.study.document.write import write_document
from simulator.study.model import Study
from simulator.study.timelines import PlayedTimeline

Study_ = Callable[..., Study]
Claim = Callable[..., dict[str, Any]]
Lives = Callable[..., list[PlayedTimeline]]
ABOUT = {"Date": "2026-11-22", "Command": "`ebbdoor study tiny`", "Machine": "hand | made"}


@pytest.fixture(scope="module")
def timelines(lives: Lives) -> list[PlayedTimeline]:
    """Two settings of seven seeds; the seventh of `a` was never planted."""
    theory = {"predicted_updates": 2.0, "rate_sum": 0.4}
    return [*lives("a", [2, 3, 4, 5, 6, 10, 0], theory=theory), *lives("b", [1] * 7, theory={"predicted_updates": 0.5})]


@pytest.fixture(scope="module")
def tiny(study: Study_, claim: Claim) -> Study:
    """Claims that hold, fail, and cannot be decided."""
    beside = {"one": {"setting": "b"}, "other": {"setting": "a"}, "note": "the other way round"}
    ranks = {"correlation": {"of": "rate_sum", "with": "survival_updates_0.5", "settings": ["a", "b", "c"]}}
    return study(
        claim(beside=[beside], start={"attack_success": 0.1}, published="95.0 to 1.5, somewhere"),
        claim(id="far-longer", gate=7),
        claim(id="unplayed", one={"setting": "c"}),
        claim(id="accurate", endpoint={"measure": "clean/accuracy"}, other={"value": 0.5}, gate=0.1),
        claim(id="ranks", endpoint={"measure": "rank_correlation"}, one=ranks, other={"value": 0}),
        notes={"far-longer": "It **was** too much to ask for."},
        about="Hand-made.",
        alpha=0.2,
    )


@pytest.fixture(scope="module")
def document(tiny: Study, timelines: list[PlayedTimeline], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document of it."""
    path = tmp_path_factory.mktemp("docs") / "tiny.md"
    write_document(tiny, timelines, verdicts(tiny, timelines), path, ABOUT)
    return path


@pytest.fixture(scope="module")
def text(document: Path) -> str:
    """What it says."""
    return document.read_text("utf-8")


def section(text: str, name: str) -> str:
    """The claim's section."""
    return text.partition(f"\n### {name}\n")[2].partition("\n### ")[0].partition("\n## ")[0]


def test_has_all_parts(text: str) -> None:
    assert re.findall(r"^## .*", text, re.MULTILINE) == [
        "## Verdicts",
        "## Settings",
        "## Claims",
        "## Theory beside practice",
    ]
    assert re.findall(r"^### (.*)", text, re.MULTILINE) == ["longer", "far-longer", "unplayed", "accurate", "ranks"]
    for name, value in {**ABOUT, "Machine": "hand \\| made", "Seeds": "100 to 106", "Timelines": "14"}.items():
        assert f"| {name} | {value} |" in text
    assert "| b | `recipe.replay.share: 0.5` |" in text
    assert "Of 5 claims 2 hold, 1 fail and 2 are undecided." in text


def test_a_claim_s_section(text: str) -> None:
    # differences 1, 2, 3, 4, 5, 7 (10 updates are cut at the horizon of 8), all of one sign: 2 / 64, times 5 claims
    held = section(text, "longer")
    for part in (
        "> a outlives b",
        "**holds**: the estimate 3.667 against the gate 0",
        "- Endpoint: restricted mean of the updates until net attack success stays below 50 %",
        "- Asked for: one − other more than 0 updates.",
        "- One: a, median 4.5 (2 to >9).",
        "- Other: b, median 1 (1 to 1).",
        "by no more than 10 points of attack success",
        "n = 6",
        "sign-flip test",
        "`one` is greater in 100 % of the pairs",
        "- Left out: seed 106: a: not planted: net attack success never reached 50 %.",
        "- a: not erased by the end of 1 of 6 timelines (1 alive at the end, 0 censored).",
        "- Published beside it: 95.0 to 1.5, somewhere.",
        "![longer: every seed",
        "| b − a (the other way round) |",
    ):
        assert part in held, part


def test_a_failed_and_an_undecided_claim_say_so(text: str) -> None:
    failed = section(text, "far-longer")
    assert "**fails**" in failed
    assert "**Reading it.** It **was** too much to ask for." in failed
    undecided = section(text, "unplayed")
    assert "**undecided**: c was not played." in undecided
    assert "no interval: c was not played" in undecided
    assert "Reading it" not in undecided
    assert "80.0%" in section(text, "accurate")
    assert "1 of 3 settings have a value in every column" in section(text, "ranks")


def test_no_bare_mean(text: str) -> None:
    """Every estimate has its interval, or the reason why there is none, beside it; every value its range."""
    for line in re.findall(r"^- Estimate: .*", text, re.MULTILINE):
        assert re.search(r"% interval .* to |no interval: ", line), line
    for row in re.findall(r"^\| \[.*", text, re.MULTILINE):
        assert re.search(r"% interval .* to |no interval: ", row), row
    for line in re.findall(r"^- (?:One|Other): .*", text, re.MULTILINE):
        assert re.search(r"median \S+ \(.* to .*\)|the same for every seed|no value", line), line


def test_every_picture_is_there_and_shows_every_seed(text: str, document: Path) -> None:
    links = re.findall(r"\]\((pictures/[^)]*)\)", text)
    assert links == [f"pictures/tiny/{name}.svg" for name in ("longer", "far-longer", "accurate", "theory")]
    found = sorted(path.name for path in (document.parent / "pictures" / "tiny").iterdir())
    assert found == sorted(Path(link).name for link in links)
    picture = (document.parent / "pictures" / "tiny" / "longer.svg").read_text("utf-8")
    assert "a (n = 7)" in picture
    assert picture.count("opacity: 0.45") == 14  # a thin line a seed


def test_theory_beside_practice(text: str) -> None:
    part = text.partition("## Theory beside practice")[2]
    assert "| 1 | b | 0.50 | median 1 (1 to 1) | 7 | 1 |" in part
    assert "| 2 | a | 2.00 | median 4.5 (2 to >9) | 6 | 2 |" in part
    assert "no seed has three settings that differ in both" in part
    assert "BatchNorm" in part


def test_the_same_arguments_give_the_same_files(
    tiny: Study, timelines: list[PlayedTimeline], document: Path, tmp_path: Path
) -> None:
    again = write_document(tiny, timelines, verdicts(tiny, timelines), tmp_path / "tiny.md", ABOUT)
    assert len(again) == 6
    for path in again:
        assert path.read_bytes() == (document.parent / path.relative_to(tmp_path)).read_bytes(), path


def test_facts_of_native_timelines_say_how_far_means_moved_between_processors(
    timelines: list[PlayedTimeline],
) -> None:
    assert facts(timelines)["Numerics"] == "native"
    assert "2 3 2 3 3 (mean 2.6)" in facts(timelines)["Other processors"]


def test_nothing_names_the_machine_s_places(text: str, timelines: list[PlayedTimeline]) -> None:
    assert not re.search(r"(?<![\w.\]])/(?:home|work|tmp|root|Users)/", text)
    assert platform.node() not in " ".join(facts(timelines).values()) or platform.node() in ("", "localhost")


def test_nothing_played_is_a_document_too(tiny: Study, tmp_path: Path) -> None:
    write_document(tiny, [], verdicts(tiny, []), tmp_path / "tiny.md", ABOUT)
    text = (tmp_path / "tiny.md").read_text("utf-8")
    assert "No timeline has been played." in text
    assert "5 are undecided" in text
