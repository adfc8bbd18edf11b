"""What the displays show of one and the same run."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from flows.displays.base import Heading
from flows.displays.display import Mode, display_for
from simulator.loop.events import Event
from simulator.observer.export import export_of
from simulator.observer.measures import MEASURES
from simulator.observer.report.columns import UNTABLED
from simulator.observer.report.console import print_run
from simulator.observer.report.html import report
from simulator.production.registry.base import Entry
from simulator.records import Arrival, Decision, Judgement, PeriodRecord, Reading, Signal
from simulator.scenario.catalog import names, resolve

HEADING = Heading("quickstart", 3, "cpu", "runs/mine", 2)


def record(period: int, control: str = "none") -> PeriodRecord:
    return PeriodRecord(
        run="mine",
        arm="constant",
        control=control,  # type: ignore[arg-type]
        period=period,
        version=period,
        parent=None,
        candidate=period,
        candidate_parent=None,
        arrival=Arrival(rows=100, poisoned=5, poison_rate=0.05, true_drift={"rotation": 5.0 * period}),
        signal=Signal(method="mmd", score=0.25, threshold=0.1, alarm=True),
        decision=Decision(retrain=True, why="every period"),
        judgement=Judgement(action="promoted", why="good", serving=period),
        readings={"clean/accuracy": Reading.of(0.875), "backdoor/attack_success": Reading.undefined("no attack")},
        weights="0" * 64,
        scenario="1" * 64,
        source="2" * 64,
    )


def events() -> list[Event]:
    lines = ["constant.twin", "constant"]
    return [
        Event("run-started", "mine", detail={"periods": 1, "lines": lines}),
        Event("stage-finished", "mine", "constant", "none", 0, "train", 1.5),
        Event("period-committed", "mine", "constant", "paced", 0, "commit", 1.0, record(0, "paced")),
        Event("period-committed", "mine", "constant", "none", 0, "commit", 2.0, record(0)),
        Event("period-committed", "mine", "constant", "paced", 1, "commit", 1.0, record(1, "paced")),
        Event("period-committed", "mine", "constant", "none", 1, "commit", 2.5, record(1)),
        Event("run-finished", "mine", detail={"periods": 1}),
    ]


def shown(mode: Mode | None) -> str:
    stream = io.StringIO()
    with display_for(mode, HEADING, stream) as display:
        for event in events():
            display(event)
    return stream.getvalue()


def test_a_row_holds_world_platform_action_and_readings_as_the_final_table_does() -> None:
    assert shown(Mode.plain).splitlines()[2].split("  ") == [
        "arm constant",
        "period 1",
        "drift 5",
        "poison 5.0%",
        "score 0.250",
        "alarm ALARM",
        "did promoted",
        "clean 87.5%",
        "net ASR –",
        "version 2",
        "seconds 2.5",
        "ASR –",
        "ED50 –",
    ]


def test_the_live_table_has_the_columns_and_cells_of_the_final_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    live = shown(Mode.live).splitlines()
    entry = Entry(record(1), record(1).digest(), {"timing": {"train": 2.5}})
    final = io.StringIO()
    print_run(export_of({"name": "quickstart"}, {"constant": [entry]}), Console(file=final, width=120))
    header, row = final.getvalue().splitlines()[1:3]
    assert any(line.split() == ["arm", *header.split()] for line in live)
    assert any(line.split() == ["constant", *row.split()] for line in live)


def test_plain_is_the_heading_and_a_line_a_period() -> None:
    lines = shown(Mode.plain).splitlines()
    assert lines[0] == "quickstart · seed 3 · cpu · runs/mine"
    assert [line.split("  ")[1] for line in lines[1:]] == ["period 0", "period 1"]


def test_elsewhere_than_on_a_terminal_the_display_is_plain() -> None:
    assert shown(None) == shown(Mode.plain)


def test_none_is_silent() -> None:
    assert shown(Mode.none) == ""


def test_json_is_an_event_a_line_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(Mode.json) == ""
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [value["kind"] for value in values] == [event.kind for event in events()]
    assert values[3]["record"]["readings"]["clean/accuracy"]["value"] == 0.875


def test_live_leaves_the_title_the_bar_and_the_last_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = shown(Mode.live)
    assert "quickstart · seed 3 · cpu · runs/mine" in text
    assert "2/2" in text
    assert [text.count(action) for action in ("base", "promoted")] == [1, 1]


@pytest.mark.parametrize("width", [60, 66, 72, 80, 100])
@pytest.mark.parametrize("arm", ["slow", "constant-mean", "a-name-of-forty-characters-which-is-long"])
def test_accuracy_and_net_asr_stay_at_every_width(width: int, arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    with display_for(Mode.live, HEADING, stream) as display:
        for event in events():
            made = event.record and event.record.model_copy(update={"arm": arm})
            display(replace(event, arm=event.arm and arm, record=made))
    lines = stream.getvalue().splitlines()
    header = next(line.split() for line in lines if "net ASR" in line)
    assert header[:2] == ["arm", "period"]
    row = next(line.split() for line in lines if "87.5%" in line)
    assert row[0] == (arm if len(arm) <= width // 3 else f"..{arm[2 - width // 3 :]}")
    assert row[header.index("clean")] == "87.5%"
    assert row[header.index("net")] == "–"
    assert max(map(len, lines)) <= width


def test_the_live_display_says_what_is_done_before_the_first_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    with display_for(Mode.live, None, stream) as display:
        display.doing("reading what is committed")
    assert stream.getvalue().splitlines() == ["reading what is committed, 0 s so far, time left not known yet"]


def test_a_heading_that_is_known_later_is_shown_once() -> None:
    stream = io.StringIO()
    with display_for(Mode.plain, None, stream) as display, display.under(HEADING) as same:
        assert same is display
    with display_for(Mode.plain, HEADING, stream) as display, display.under(HEADING):
        pass
    assert stream.getvalue().splitlines() == [str(HEADING)] * 2


def test_readings_of_own_probes_have_columns_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"mine/sharpness": Reading.of(0.12345), "mine/other": Reading.undefined("too few rows")}
    record_ = record(0).model_copy(update={"readings": {**record(0).readings, **own}})
    run = export_of({"name": "quickstart"}, {"constant": [Entry(record_, record_.digest(), {})]})
    wide, narrow = io.StringIO(), io.StringIO()
    print_run(run, Console(file=wide, width=100))
    assert "mine/sharpness" in wide.getvalue().splitlines()[1]
    assert "0.1235" in wide.getvalue().splitlines()[2]
    assert "– mine/other: too few rows (period 0)" in wide.getvalue()
    print_run(run, Console(file=narrow, width=60))
    assert "mine/sharpness" not in narrow.getvalue().splitlines()[1]
    assert "mine/sharpness at the end: 0.1235" in narrow.getvalue()
    assert "mine/other at the end: too few rows" in narrow.getvalue()
    page = report(run)
    assert '<th class="number" title="mine/sharpness, a reading of your own probe">mine/sharpness</th>' in page
    assert '<td class="number">0.1235</td>' in page


def test_readings_that_others_are_made_of_are_no_own_ones() -> None:
    given = {name for probe in names("probes") for name in resolve("probes", probe).gives}
    assert given - {item.reading for item in MEASURES} == UNTABLED
