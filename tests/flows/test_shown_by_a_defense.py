"""What a user's own defense shows, remembers and asks for is seen in Prefect, in MLflow and in the report."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from prefect import get_client

from flows.parameters import Execution
from flows.reporting.requests import all_requests
from flows.simulate import simulate
from simulator.production.registry.base import Entry
from simulator.records import Arrival, Asked, Decision, Judgement, Outcome, PeriodRecord, Signal

#: of the candidate of period 1 it asks for three things; class 3's reversed trigger is a white corner
SHOWS = """
import torch
from typing import final
from defenses.base import Context, Hold, Inspector, InspectorResult, Purge, RollBack, State


@final
class Shows(Inspector):
    '''Shows all that an inspector can.'''

    remembers = True

    def inspect(self, context: Context) -> InspectorResult:
        calls = context.state.values.get("calls", 0) + 1
        triggers = torch.full((10, 1, 8, 8), float("nan"))
        triggers[3] = 0.0
        triggers[3, :, 7, 7] = 1.0
        asks = (Hold("it is odd"), RollBack(7, "the best so far"), Purge("odd rows", periods=(0,)))
        return InspectorResult(
            False, 2.5 * calls, 99.0, class_scores=torch.arange(10.0), triggers=triggers,
            requests=asks if context.period == 1 and context.subject == "candidate" else (),
            state=State({"calls": calls}, {"mean": torch.zeros(4, 2)}),
        )
"""


def posted(path: str, body: dict[str, Any]) -> Any:
    with get_client(sync_client=True) as client:
        return client._client.post(path, json=body).json()


def events_of(run: str, count: int) -> list[dict[str, Any]]:
    body = {"filter": {"event": {"name": ["ebbdoor.defense.request"]}, "resource": {"id": [f"ebbdoor.run.{run}.main"]}}}
    deadline = time.monotonic() + 120
    while len(events := posted("/events/filter", body)["events"]) < count and time.monotonic() < deadline:
        time.sleep(0.2)
    return sorted(events, key=lambda event: str(event["payload"]["kind"]))


def test_a_request_is_a_row_with_what_it_names() -> None:
    asked = [
        Asked(kind="purge", reason="odd", periods=[1, 2], rows=3, granted=True, why="gone"),
        Asked(kind="retrain", reason="to forget", recipe={"epochs": 2}, why="not allowed"),
        Asked(kind="hold", reason="wait", why="not allowed"),
        Asked(kind="roll-back", reason="they moved", to=0, why="ordinal 0 has never served"),
    ]
    outcome = Outcome(surface="inspector", name="mine", status="passed", reason="near", requests=asked)
    records = [
        PeriodRecord(
            run="r", arm="main", control=control, period=1, version=1, parent=0, candidate=1, candidate_parent=0,
            arrival=Arrival(rows=1), signal=Signal(method="none"), decision=Decision(retrain=True, why="w"),
            judgement=Judgement(action="promoted", why="w", serving=1), readings={}, outcomes=[outcome],
            weights="w", source="s", scenario="s",
        )
        for control in ("none", "paced")
    ]  # fmt: skip
    rows = all_requests([Entry(one, "", {"number": 2}) for one in records])
    assert [(row["request"], row["of"], row["became"], row["why"]) for row in rows] == [
        ("purge", "period 1, 2; 3 rows of the window", "granted", "gone"),
        ("retrain", "epochs 2", "refused", "not allowed"),
        ("hold", "–", "refused", "not allowed"),
        ("roll-back", "version 1 (ordinal 0)", "refused", "version 1 (ordinal 0) has never served"),
    ]


def test_what_a_defense_shows_and_asks_for_is_seen_everywhere(
    tiny: Path, stocked: Path, prefect_server: None, user_file: Callable[[str, str], None]
) -> None:
    from mlflow import MlflowClient

    user_file("user_shows.py", SHOWS)
    defense = {"use": "user_shows:Shows", "may": ["hold", "purge"]}
    keys = {"periods": 1, "arms": {"main": {}}, "defenses": [defense], "in_process": True}
    simulate(scenario=str(tiny), overrides=keys, run="shows", execution=Execution(processes=0))

    hold, purge, back = events_of("shows", 3)
    assert [event["resource"]["request"] for event in (hold, purge, back)] == ["hold", "purge", "roll-back"]
    assert [event["resource"]["granted"] for event in (hold, purge, back)] == ["true", "true", "false"]
    assert back["payload"] == {
        "run": "shows", "arm": "main", "period": 1, "defense": "user_shows:Shows", "looked_at": "candidate",
        "kind": "roll-back", "reason": "the best so far", "to": 7, "granted": False, "why": back["payload"]["why"],
    }  # fmt: skip
    (table,) = posted("/artifacts/filter", {"artifacts": {"key": {"any_": ["defense-requests"]}}})
    rows = json.loads(table["data"])
    assert [(row["request"], row["became"]) for row in rows] == [
        ("hold", "granted"), ("roll-back", "refused"), ("purge", "granted"),
    ]  # fmt: skip

    client = MlflowClient(f"sqlite:///{stocked / 'mlflow.db'}")
    (held,) = client.search_model_versions("tags.arm = 'main' and tags.twin = 'false' and tags.ordinal = '1'")
    assert held.tags["shown.inspector.user_shows_Shows"] == (
        "10 class_scores; reversed triggers of class 3 (see outcomes/period-0001)"
    )
    assert held.tags["request.hold.user_shows_Shows"].startswith("granted: it is odd; ")
    assert held.tags["request.roll-back.user_shows_Shows"].startswith("refused: the best so far; the scenario grants")
    files = Path(urlsplit(client.get_logged_model(held.tags["model_id"]).artifact_location).path)
    look = files / "outcomes" / "period-0001" / "inspector.user_shows_Shows"
    wanted = np.zeros((8, 8), dtype=int)
    wanted[7, 7] = 255
    assert np.array(Image.open(look / "trigger-of-class-3.png")).tolist() == wanted.tolist()
    assert (look / "scores.csv").read_text().splitlines()[-1] == "class_scores,,class,9,9.0"

    page = (stocked / "shows" / "report.html").read_text("utf-8")
    assert "<h3>main: user_shows:Shows (inspector)</h3>" in page
    assert "10 classes: highest 9 (class 9), median 4.5" in page
    assert "<strong>granted</strong>: hold – it is odd; what is judged is not promoted" in page
    assert "<strong>refused</strong>: roll-back to version 8 (ordinal 7) – the best so far; the scenario grants" in page
    # before and after period 1 the champion is looked at as well
    images = re.findall(r'alt="reversed trigger of class 3" src="data:image/png;base64,([^"]+)"', page)
    assert len(images) >= 2
    for image in images:
        assert np.array(Image.open(io.BytesIO(base64.b64decode(image)))).tolist() == wanted.tolist()
    assert "remembers {&#34;calls&#34;: 1}, mean 4 × 2" in page
