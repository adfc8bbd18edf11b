"""What the displays show of one and the same run."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from flows.displays.base import Heading
from flows.displays.display import Mode, display_for
from simulator.loop.events import Event
from simulator.observer.export import export_of
from simulator.observer.report.console import print_run
from simulator.production.registry.base import Entry
from simulator.records import Arrival, Decision, Judgement, PeriodRecord, Reading, Signal

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
