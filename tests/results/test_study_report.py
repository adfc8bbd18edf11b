"""A study's page: self-contained, every setting and claim on it, hostile text escaped, the same bytes each time."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from simulator.errors import StoreError
from simulator.study.load import study_of
from simulator.study.model import Study
from simulator.study.report.curves import curves_of, median_curve
from simulator.study.report.html import study_report, write_report
from simulator.study.report.overview import overview, shortened
from simulator.study.report.panels import panels
from simulator.study.results import lifetime_of
from simulator.study.rows import period_rows, timeline_rows
from simulator.study.statistics.lifetimes import Lifetime
from simulator.study.statistics.values import Claim, Endpoint
from simulator.study.statistics.weigh import compare_lifetimes, decide
from simulator.study.timelines import PlayedTimeline

Build = Callable[..., PlayedTimeline]


class Page(HTMLParser):
    """What a browser would load, and the cells of the tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.cells: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.cells = [cell.strip() for cell in self.cells]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def two(played: Build) -> list[PlayedTimeline]:
    """A setting that forgets and one that does not, three seeds each."""
    forgets = [[0.9, 0.4, 0.1], [0.8, 0.6, 0.2], [0.9, 0.3, 0.3]]
    lines = [played(nets, arm="slow", seed=100 + i) for i, nets in enumerate([[0.9, 0.9, 0.8]] * 3)]
    return lines + [played(nets, arm="fast", seed=100 + i) for i, nets in enumerate(forgets)]


@pytest.fixture(scope="module")
def text(study: Study, two: list[PlayedTimeline]) -> str:
    return study_report(study, two)


@pytest.fixture(scope="module")
def study() -> Study:
    claim = {
        "id": "speed",
        "sentence": "A <b>larger</b> rate forgets faster",
        "endpoint": {"measure": "survival", "horizon": 2},
        "one": {"setting": "slow"},
        "other": {"setting": "fast"},
        "direction": "greater",
        "published": "10 against 3",
    }
    return study_of(
        {"name": "rates", "about": "Rates <script>", "scenario": "quickstart", "seeds": [100, 101], "claims": [claim]}
    )


def test_the_page_needs_nothing_else_and_escapes_what_it_is_told(text: str) -> None:
    page = Page(text)
    assert page.sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert "script" not in page.tags
    assert "Claims" not in text


def test_every_setting_has_its_row_and_its_panel(text: str) -> None:
    cells = Page(text).cells
    assert cells[cells.index("fast") : cells.index("fast") + 4] == ["fast", "3 of 3", "1.3 of 2", "1(1 to >2)"]
    assert cells[cells.index("slow") : cells.index("slow") + 4] == ["slow", "3 of 3", "2.0 of 2", ">2(>2 to >2)"]
    assert "for slow, fast;" in text
    assert "6 timelines · 2 settings · seeds 100, 101, 102" in text


def test_a_verdict_shows_estimate_interval_and_why(two: list[PlayedTimeline], study: Study) -> None:
    claim = Claim(
        "speed", study.claims[0].sentence, Endpoint("survival", "d", "updates", "restricted mean", 2), "greater"
    )
    one = {seed: Lifetime(2, ended=False) for seed in (100, 101, 102)}
    other = {100: Lifetime(1, True), 101: Lifetime(2, True), 102: None}
    page = Page(study_report(study, two, decide([compare_lifetimes(claim, one, other)])))
    at = page.cells.index("speed")
    assert page.cells[at + 1] == "A <b>larger</b> rate forgets fasterPublished: 10 against 3"
    assert page.cells[at + 2 : at + 7] == [
        "undecided", "slow", "fast", "restricted mean of survival in updates, up to 2", "above 0",
    ]  # fmt: skip
    # differences 1 and 0: two pairs give no interval beyond 50 %, which their range is
    assert page.cells[at + 7 : at + 10] == ["0.5", "0 to 1 (50 %)", "1"]
    assert page.cells[at + 12 : at + 14] == ["2", "102"]


def test_pictures_hold_no_time_and_no_chance(
    two: list[PlayedTimeline], study: Study, text: str, tmp_path: Path
) -> None:
    path = write_report(tmp_path / "out", study, two)
    assert path.read_text("utf-8") == text
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]
    assert all(base64.b64decode(data).startswith(b"<?xml") for data in re.findall(r"base64,([^\"]+)", text))


def test_many_settings_make_several_pictures(played: Build, study: Study) -> None:
    lines = [played([0.9, 0.1, 0.1], arm=f"arm-{index}") for index in range(9)]
    assert study_report(study, lines).count("data:image/svg+xml") == 1 + 2


def test_settings_never_planted_or_never_measured_are_told(played: Build, study: Study) -> None:
    lines = [played([0.1, 0.1], arm="weak"), played([None, None], arm="unread", seed=1)]
    assert "not planted" in study_report(study, lines)


def test_every_seed_is_drawn(two: list[PlayedTimeline]) -> None:
    rows = timeline_rows(two)
    dots = overview(rows).axes[0].lines
    assert sorted(float(line.get_xdata()[0]) for line in dots if line.get_marker() == "o") == [1, 1, 2, 2, 2, 2]
    lives = {name: [lifetime_of(row) for row in rows if row["setting"] == name] for name in ("slow", "fast")}
    drawn = panels(curves_of(period_rows(two), lives), 2).axes[3].lines
    thin = [list(line.get_ydata()) for line in drawn if line.get_linewidth() < 0.75]
    assert thin == [[0.9, 0.4, 0.1], [0.8, 0.6, 0.2], [0.9, 0.3, 0.3]]
    assert list(drawn[3].get_ydata()) == [0.9, 0.4, 0.2]


def test_medians_are_of_the_seeds_that_have_a_value() -> None:
    curves = {1: ((0, 0.9), (1, None)), 2: ((0, 0.5), (1, None)), 3: ((0, 0.6),)}
    assert median_curve(curves) == ((0, 0.6), (1, None))


@pytest.mark.parametrize(("name", "text"), [("short", "short"), ("abcdefghijk", "abc … hijk")])
def test_long_names_are_cut_in_the_middle(name: str, text: str) -> None:
    assert shortened(name, 10) == text


def test_no_timeline_has_no_page(study: Study) -> None:
    with pytest.raises(StoreError, match="expected at least one played timeline, got none; play the study first"):
        study_report(study, [])
