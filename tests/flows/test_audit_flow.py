"""The flow `audit` on a real Prefect server: its findings on the versions, its table, and an event for a flag."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client

from flows.audit import audit
from simulator.errors import ScenarioError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import VersionPayload
from simulator.production.registry.open import open_stores
from tests.registry.conftest import MAIN, make_head, make_payload, make_record

NAME = "ebbdoor.r1.main"
#: flags the version of period 1
SCRIPTED: dict[str, Any] = {"use": "scripted", "surface": "inspector", "script": {"1": "flag"}}


@pytest.fixture
def lineage(stocked: Path) -> None:
    """Two versions of a small network."""
    registry, _ = open_stores(tracking_uri=None, workspace=stocked)
    registry.open(make_head())
    for ordinal in (0, 1):
        payload: VersionPayload = make_payload(ordinal, line=MAIN)
        registry.register(payload)
        registry.publish(make_record(ordinal), {}, LineageState(tuple(range(ordinal + 1)), ordinal, None))


def events() -> list[dict[str, Any]]:
    body = {"filter": {"event": {"name": ["ebbdoor.audit.flag"]}}}
    with get_client(sync_client=True) as client:
        return list(client._client.post("/events/filter", json=body).json()["events"])


def table(flow_run: Any) -> list[dict[str, Any]]:
    with get_client(sync_client=True) as client:
        answer = client._client.post("/artifacts/filter", json={"flow_runs": {"id": {"any_": [str(flow_run)]}}})
    (found,) = (item["data"] for item in answer.json() if item["key"] == "audit")
    return list(json.loads(found))


def test_a_flag_is_an_event_and_the_flow_run_says_so(lineage: None, stocked: Path, prefect_server: None) -> None:
    state = audit(models=[f"models:/{NAME}"], defenses=[SCRIPTED], return_state=True)
    assert (state.name, state.is_completed(), state.message) == ("Flagged", True, "1 of 2 models flagged")
    assert [one["flagged"] for one in state.result()["findings"]] == [False, True]
    assert [row["verdict"] for row in table(state.state_details.flow_run_id)] == ["passed", "flagged"]
    deadline = time.monotonic() + 120
    while not (found := events()) and time.monotonic() < deadline:
        time.sleep(0.2)
    (event,) = found
    assert event["resource"] == {
        "prefect.resource.id": f"ebbdoor.model.{NAME}.2",
        "prefect.resource.name": f"models:/{NAME}/2",
        "defense": "scripted",
    }
    assert event["payload"] == {
        "model": f"models:/{NAME}/2", "defense": "scripted", "score": 1.0, "threshold": 0.5,
        "reason": "score 1 beside a threshold of 0.5",
    }  # fmt: skip


def test_a_wrong_order_fails_the_flow_run_with_the_sentence(stocked: Path, prefect_server: None) -> None:
    with pytest.raises(ScenarioError, match="registered model with versions, got none"):
        audit(models=["models:/nobodys"], defenses=["neural-cleanse"])


@pytest.mark.parametrize("models", [["nobodys/3"], ["models:/"], ["models:/a\nb"], []])
def test_an_address_of_another_form_never_reaches_the_flow(models: list[str]) -> None:
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError):
        audit.validate_parameters({"models": models, "defenses": ["neural-cleanse"]})
