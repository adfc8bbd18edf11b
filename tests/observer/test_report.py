"""Tables, time line and page, read as a person or a browser would."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import matplotlib as mpl
import pytest
from matplotlib.colors import same_color
from rich.console import Console

from simulator.observer.export import export_of
from simulator.observer.measures import MEASURES, measure, percent, show
from simulator.observer.report.columns import footnotes, shortened
from simulator.observer.report.console import print_run
from simulator.observer.report.html import report
from simulator.observer.report.plots import time_line
from simulator.observer.report.style import as_svg, palette
from simulator.observer.run_export import RunExport
from simulator.observer.verdict import verdicts
from simulator.production.registry.base import Entry
from simulator.records import Asked, Outcome

Lines = dict[str, list[Entry]]


@pytest.fixture
def run(fading: Lines) -> RunExport:
    return export_of({"name": "hand-made", "seed": 3}, fading)


def printed(run: RunExport, width: int, *, terminal: bool = False) -> str:
    console = Console(width=width, force_terminal=terminal, color_system=None)
    with console.capture() as capture:
        print_run(run, console, {"report": "runs/a/report.html"})
    return capture.get()


def test_figures_as_a_reader_sees_them() -> None:
    assert [percent(value) for value in (0.976, 1.0, -0.012, -0.0001, 0.0)] == [
        "97.6%", "100.0%", "-1.2%", "0.0%", "0.0%",
    ]  # fmt: skip
    assert show("clean_accuracy", None) == "–"
    assert show("trigger_ed50", 0.3125) == "0.31"
    assert show("collapsed", 0.0) == "no"
    assert show("drift_score", -0.0001) == "0.000"
    assert percent(-0.0004) == "0.0%"
    assert percent(-0.0006) == "-0.1%"


def test_every_measurement_declares_itself() -> None:
    assert len({item.key for item in MEASURES}) == len(MEASURES)
    assert all(item.definition.endswith(".") for item in MEASURES)
    assert measure("clean_accuracy").higher_is_better
    assert measure("net_attack_success").higher_is_better is False
    with pytest.raises(KeyError, match="expected a measurement's key, got 'asr'"):
        measure("asr")


@pytest.mark.parametrize("width", [80, 120, 160])
def test_table_fits_the_terminal(run: RunExport, width: int) -> None:
    text = printed(run, width, terminal=True)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\x1b" not in text


def test_in_a_file_a_sentence_is_a_line(run: RunExport) -> None:
    lines = printed(run, 80).splitlines()
    for arm, text in verdicts(run.summary).items():
        assert len(text) > 80
        assert f"{arm}: {text}" in lines


def test_table_says_in_words_what_happened(run: RunExport) -> None:
    lines = printed(run, 80).splitlines()
    assert lines[1].split() == [
        "period", "drift", "poison", "score", "alarm", "did", "clean", "net", "ASR", "version", "seconds",
    ]  # fmt: skip
    assert lines[2].split() == ["0", "none", "5.0%", "0.000", "no", "base", "87.0%", "95.0%", "1", "1.0"]
    assert lines[5].split() == ["3", "15", "0", "0.600", "ALARM", "promoted", "84.0%", "85.0%", "4", "1.0"]
    assert lines[-1] == "report  runs/a/report.html"


def test_dashes_have_footnotes(run: RunExport) -> None:
    notes = footnotes(run.lineage("fading"))
    assert "– re-learned: measured on the first erased and the last version only (periods 0-3)" in notes


def test_long_runs_are_cut_in_the_middle(entry: Callable[..., Entry]) -> None:
    rows = [{"period": period} for period in range(10)]
    kept, left_out = shortened(rows, 5)
    assert ([row["period"] for row in kept], left_out) == ([0, 1, 7, 8, 9], 5)
    text = printed(export_of({}, {"main": [entry(period) for period in range(100)]}), 80)
    assert "60 periods left out; periods.jsonl has them all" in text
    assert re.search(r"^ +99 ", text, re.MULTILINE)


def test_time_line_draws_what_was_read(run: RunExport) -> None:
    figure = time_line(run)
    accuracy, success, score, actions = (figure.axes[2 * strip] for strip in range(4))
    curves = [list(line.get_ydata()) for line in success.get_lines()]
    assert [0.95, 0.93, 0.9, 0.85, 0.8] in curves
    assert [0.02] * 5 in curves  # the twin
    assert "higher is better" in accuracy.get_ylabel()
    assert "lower is better" in success.get_ylabel()
    assert "better" not in score.get_ylabel()
    assert [tick.get_text() for tick in actions.get_yticklabels()] == [
        "promoted", "defense flagged", "alarm", "poisoned",
    ]  # fmt: skip


def test_time_line_shades_drift_and_poison_behind_all_strips(run: RunExport) -> None:
    for axis in time_line(run).axes[:8:2]:
        grey, hatched = axis.collections
        # periods 1 to 4 drifted further and further, period 0 was poisoned
        assert [path.get_extents().x0 for path in grey.get_paths()] == [0.5, 1.5, 2.5, 3.5]
        shades = [colour[3] for colour in grey.get_facecolor()]
        assert shades == sorted(set(shades))
        assert same_color(grey.get_facecolor()[0][:3], palette("shade"))
        assert [path.get_extents().x0 for path in hatched.get_paths()] == [-0.5]
        assert hatched.get_hatch()
        assert max(grey.get_zorder(), hatched.get_zorder()) < 1


def test_gaps_stay_gaps(entry: Callable[..., Entry]) -> None:
    line = [entry(period, net=None if period == 1 else 0.9) for period in range(3)]
    success = time_line(export_of({}, {"main": line})).axes[1]
    assert any(list(map(str, line.get_ydata())) == ["0.9", "nan", "0.9"] for line in success.get_lines())


def test_an_unmeasured_strip_says_why(entry: Callable[..., Entry]) -> None:
    line = [entry(period, net=None, success=None, score=None, method="none") for period in range(2)]
    texts = [text.get_text() for axis in time_line(export_of({}, {"main": line})).axes for text in axis.texts]
    assert "the scenario has no attack" in texts
    assert "the monitor gave no score (none)" in texts


def test_second_arm_stays_inside_the_shared_axes(entry: Callable[..., Entry]) -> None:
    low = [entry(p, arm="low", clean=0.9, score=0.1) for p in range(2)]
    high = [entry(p, arm="high", clean=0.2, score=7.0) for p in range(2)]
    figure = time_line(export_of({}, {"low": low, "high": high}))
    assert figure.axes[0].get_ylim()[0] < 0.2
    assert figure.axes[4].get_ylim()[1] > 7.0


def test_picture_is_deterministic_and_leaves_global_settings_alone(run: RunExport) -> None:
    before = dict(mpl.rcParams)
    assert as_svg(time_line(run)) == as_svg(time_line(run))
    assert dict(mpl.rcParams) == before


class Page(HTMLParser):
    """Collects what a browser would load, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.resources: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.resources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_page_is_whole_small_and_needs_nothing_else(run: RunExport) -> None:
    page = report(run)
    parsed = Page(page)
    assert len(page.encode()) < 5_000_000
    assert "script" not in parsed.tags
    assert parsed.resources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in parsed.resources)
    assert "url(" not in page
    assert not re.search(r"https?://", page)


def test_page_puts_the_verdict_first_and_alarms_before_decisions(run: RunExport) -> None:
    page = report(run)
    order = ["The model re-learns it quickly", "<h2>Versions", "<h2>Time line", "<h2>Alarms", "<h2>What the defenses",
             "<h2>Scenario", "<h2>Environment", "<h2>How each figure is defined"]  # fmt: skip
    places = [page.index(text) for text in order]
    assert places == sorted(places)


def test_page_escapes_what_strangers_wrote(run: RunExport) -> None:
    page = report(run)
    assert "an outlying &lt;class&gt;" in page
    assert "<class>" not in page


def test_page_of_a_long_noisy_run_stays_small_and_says_what_is_missing(entry: Callable[..., Entry]) -> None:
    noisy = Outcome(surface="screen", name="strip", status="flagged", reason="high", evidence={"scores": [0.1] * 500})
    lines = {
        arm: [entry(p, arm=arm, alarm=True, drift={"noise": 0.1}, outcomes=[noisy] * 3) for p in range(100)]
        for arm in ("a", "b", "c", "d")
    }
    page = report(export_of({"name": "long"}, lines))
    assert len(page.encode()) < 5_000_000
    assert "40 periods left out" in page
    assert "1140 more left out here" in page
    assert page.count("data:image/svg+xml") == 2


def test_page_tells_what_defenses_asked_for_and_what_became_of_it(entry: Callable[..., Entry]) -> None:
    asked = [
        Asked(kind="purge", reason="odd rows", periods=[1, 2], rows=1, granted=True, why="not replayed any more"),
        Asked(kind="roll-back", reason="they moved", to=0, why="ordinal 0 has never served"),
    ]
    outcome = Outcome(surface="inspector", name="moves", status="passed", reason="near", requests=asked)
    page = report(export_of({"name": "asked"}, {"main": [entry(0), entry(1, outcomes=[outcome])]}))
    assert "moves asked for a purge of period 1-2 and 1 row of the window – odd rows; granted: not replayed" in page
    what = "roll-back to version 1 (ordinal 0)"
    assert f"moves asked for a {what} – they moved; refused: version 1 (ordinal 0) has never served" in page
    assert f"<td><div>granted: purge of period 1-2 and 1 row of the window</div><div>refused: {what}</div></td>" in page
    assert "No defense found, changed or asked for anything." not in page


def test_page_without_alarms_or_decisions_says_so(entry: Callable[..., Entry]) -> None:
    page = report(export_of({"name": "quiet"}, {"main": [entry(0), entry(1)]}))
    assert "The monitor raised no alarm." in page
    assert "No defense found, changed or asked for anything." in page


def test_one_look_is_no_looks_and_missing_figures_are_told_once_a_reason(entry: Callable[..., Entry]) -> None:
    quiet = Outcome(surface="inspector", name="moves", status="passed", reason="near")
    lines = {arm: [entry(0, arm=arm, net=None), entry(1, arm=arm, net=None)] for arm in ("a", "b")}
    lines["a"][1].record.outcomes.append(quiet)
    page = report(export_of({"name": "quiet"}, lines))
    assert "1 further look found nothing" in page
    notes = re.findall("<li>– (a, b: .*?)</li>", page)
    told = [note.rpartition(": ")[2] for note in notes]
    assert told
    assert len(told) == len(set(told))
    assert "revived, planted" in notes[0]


def test_the_environment_is_told_as_people_write_it_and_what_is_empty_is_left_out(entry: Callable[..., Entry]) -> None:
    about = {
        "environment": {"device": "cpu"},
        "data": {"lines": ["data: 5 images"], "warnings": [], "shape": [1, 8, 8]},
    }
    page = report(export_of({"name": "told"}, {"main": [entry(0)]}, about))
    assert "<tr><td>shape</td><td>1, 8, 8</td></tr>" in page
    assert "<td>warnings</td>" not in page
    assert page.count("data: 5 images") == 1


def test_an_alarm_tells_the_kind_of_drift_that_the_monitor_names(entry: Callable[..., Entry]) -> None:
    found = entry(1, alarm=True, score=0.9)
    signal = found.record.signal.model_copy(update={"detail": {"kind": "label-prior"}})
    named = Entry(found.record.model_copy(update={"signal": signal}), "", found.metadata)
    run = export_of({"name": "told"}, {"main": [entry(0), named, entry(2, alarm=True, score=0.9)]})
    first, second, third = run.lineage("main")
    assert (second["drift_kind"], "drift_kind" in first, "drift_kind" in third) == ("label-prior", False, False)
    assert "<td>label-prior</td>" in report(run)
    assert "label-prior" in printed(run, 180)
