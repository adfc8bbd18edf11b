"""Wrong parameters through Prefect's real API: refused when the flow run is made, or Failed before work starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flow_engine import run_flow

from flows.advance import advance
from flows.simulate import simulate
from flows.studies.study import study
from flows.studies.timeline import timeline

LONG = "x" * 5000
#: (flow, parameters, what the server's refusal names)
BY_THE_SERVER: list[tuple[str, dict[str, Any], str]] = [
    ("simulate", {"scenario": ""}, "scenario"),
    ("simulate", {"scenario": None}, "scenario"),
    ("simulate", {"scenario": ["quickstart"]}, "scenario"),
    ("simulate", {"scenario": "quick\nstart"}, "scenario"),
    ("simulate", {"scenario": LONG}, "scenario"),
    ("simulate", {"overrides": [["periods", 1]]}, "overrides"),
    ("simulate", {"overrides": {"": 1}}, "overrides"),
    ("simulate", {"overrides": {"stream..batch": 1}}, "overrides"),
    ("simulate", {"overrides": {"periods=3 ": 1}}, "overrides"),
    ("simulate", {"seed": -1}, "seed"),
    ("simulate", {"seed": "1"}, "seed"),
    ("simulate", {"seed": 1.5}, "seed"),
    ("simulate", {"device": "gpu"}, "device"),
    ("simulate", {"device": "cuda:x"}, "device"),
    ("simulate", {"run": "../../etc"}, "run"),
    ("simulate", {"run": "Upper"}, "run"),
    ("simulate", {"run": "x" * 101}, "run"),
    ("simulate", {"out": ""}, "out"),
    ("simulate", {"until": -1}, "until"),
    ("simulate", {"until": 10_001}, "until"),
    ("simulate", {"live": "yes"}, "live"),
    ("simulate", {"live": None}, "live"),
    ("simulate", {"live": True, "every": 0}, "every"),
    ("simulate", {"live": True, "every": -60}, "every"),
    ("simulate", {"live": True, "every": 1e12}, "every"),
    ("simulate", {"live": True, "every": "PT1H"}, "every"),
    ("simulate", {"execution": {"procesess": 1}}, "procesess"),
    ("simulate", {"execution": {"processes": -1}}, "processes"),
    ("simulate", {"execution": {"take_over": 1}}, "take_over"),
    ("simulate", {"execution": {"wait": 3601}}, "wait"),
    ("simulate", {"execution": []}, "execution"),
    ("advance", {"run": ""}, "run"),
    ("advance", {"run": " \t"}, "run"),
    ("advance", {"run": LONG}, "run"),
    ("advance", {"periods": -1}, "periods"),
    ("advance", {"periods": 2.5}, "periods"),
    ("advance", {"until": "last"}, "until"),
    ("advance", {"retrain": ""}, "retrain"),
    ("advance", {"retrain": "a\nb"}, "retrain"),
    ("advance", {"retrain": True}, "retrain"),
    ("advance", {"run": "r", "retrain": "why", "arm": "../main"}, "arm"),
    ("study", {}, "study"),
    ("study", {"study": ""}, "study"),
    ("study", {"study": "per\nmanence"}, "study"),
    ("study", {"study": "s", "executor": "threads"}, "executor"),
    ("study", {"study": "s", "executor": None}, "executor"),
    ("study", {"study": "s", "workers": 0}, "workers"),
    ("study", {"study": "s", "workers": 1025}, "workers"),
    ("study", {"study": "s", "workers": "2"}, "workers"),
    ("study", {"study": "s", "quick": 1}, "quick"),
    ("study", {"study": "s", "out": " out"}, "out"),
    ("study", {"study": "s", "overrides": {"seeds..": 1}}, "overrides"),
    ("study", {"study": "s", "deployment": "timeline"}, "deployment"),
    ("timeline", {"folder": "f"}, "name"),
    ("timeline", {"folder": "", "name": "main-s0"}, "folder"),
    ("timeline", {"folder": "f", "name": "../main-s0"}, "name"),
    ("timeline", {"folder": "f", "name": "main-s0", "cache": 1}, "cache"),
]
#: the quick subset names no class of one's own, the rest of the study does
QUICK_HIDES = {
    "quick": {"seeds": [0], "settings": ["constant gate.use=none"]},
    "grid.gate.use": ["none", "evil_file:Thing"],
}
#: (flow, parameters, the sentence of the Failed state)
BY_US: list[tuple[str, dict[str, Any], str]] = [
    ("simulate", {"scenaro": "quickstart"}, "scenaro"),  # Prefect's server lets unknown names pass, its engine does not
    ("advance", {"scenario": "quickstart"}, "scenario"),
    ("simulate", {"scenario": "quickstrat"}, "did you mean 'quickstart'"),
    ("simulate", {"scenario": "nowhere.yaml"}, "no such file"),
    ("simulate", {"overrides": {"perods": 3}}, "perods"),
    ("simulate", {"overrides": {"periods": "many"}}, "expected periods to be a whole number, got 'many'"),
    ("simulate", {"overrides": {"attack": {"use": "pach"}}}, "did you mean 'patch'"),
    ("simulate", {"overrides": {"attack": {"use": "patch", "size": 400}}}, "size"),
    ("simulate", {"overrides": {"stream.batch": 0}}, "stream.batch"),
    ("simulate", {"overrides": {"source": {"use": "npz", "path": "none.npz"}}}, "none.npz"),
    ("simulate", {"overrides": {"stream.arrivals": {"folder": "none"}}}, "no such folder"),
    ("simulate", {"overrides": {"stream.arrivals": {"folder": "/"}}, "live": True, "every": 60}, "got both"),
    ("simulate", {"overrides": {"defenses": [{"use": "evil_file:Thing"}]}}, "EBBDOOR_ALLOWED_MODULES=evil_file"),
    ("simulate", {"overrides": {"arms": {"main": {"gate.use": "evil_file:Thing"}}}}, "EBBDOOR_ALLOWED_MODULES"),
    ("simulate", {"every": 60}, "expected every to come with a live run"),
    ("simulate", {"live": True, "until": 3}, "expected a live run to be opened with period 0"),
    ("advance", {"retrain": "why"}, "expected run to be given with retrain"),
    ("advance", {"run": "r", "arm": "main"}, "expected arm to come with retrain"),
    ("advance", {"run": "none-such"}, "got no such run"),
    ("advance", {"run": "../none such"}, "expected a run's name to be small letters"),
    ("study", {"study": "small.yaml", "sedes": [1]}, "sedes"),
    ("study", {"study": "no-such-study"}, "expected a preset's name or a .yaml file, got 'no-such-study'"),
    ("study", {"study": "nowhere.yaml"}, "expected a study in nowhere.yaml, got no such file"),
    ("study", {"study": "small.yaml", "overrides": {"sedes": [1]}}, "sedes"),
    ("study", {"study": "small.yaml", "overrides": {"seeds": []}}, "seeds"),
    ("study", {"study": "small.yaml", "overrides": {"grid.seed": [1, 2]}}, "the study's `seeds` give it"),
    ("study", {"study": "small.yaml", "quick": True}, "to name its quick subset, got none"),
    ("study", {"study": "small.yaml", "overrides": {"set.monitor": {"use": "evil_file:Thing"}}}, "EBBDOOR_ALLOWED"),
    ("study", {"study": "small.yaml", "overrides": {"grid.gate.use": ["none", "evil_file:Thing"]}}, "EBBDOOR_ALLOWED"),
    ("study", {"study": "small.yaml", "quick": True, "overrides": QUICK_HIDES}, "EBBDOOR_ALLOWED"),
    ("study", {"study": "small.yaml", "overrides": {"scenario.arms": {"a": {"attack.use": "evil_file:T"}}}}, "ALLOWED"),
    ("timeline", {"folder": "none", "name": "main-s0"}, "expected a study in"),
]
SMALL = "name: small\nscenario: quickstart\nseeds: [0]\n"
FLOWS = {flow.name: flow for flow in (simulate, advance, study, timeline)}


@pytest.fixture(scope="module")
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as connected:
        yield connected


@pytest.fixture(scope="module")
def deployments(client: SyncPrefectClient) -> dict[str, UUID]:
    return {name: flow.to_deployment("checked").apply() for name, flow in FLOWS.items()}


def named(values: tuple[str, dict[str, Any], str]) -> str:
    return f"{values[0]} {str(values[1])[:60]}"


@pytest.mark.parametrize("case", BY_THE_SERVER, ids=named)
def test_the_server_refuses_it_and_makes_no_flow_run(
    case: tuple[str, dict[str, Any], str], client: SyncPrefectClient, deployments: dict[str, UUID]
) -> None:
    flow, parameters, word = case
    with pytest.raises(PrefectHTTPStatusError, match=word) as refused:
        client.create_flow_run_from_deployment(deployments[flow], parameters=parameters)
    assert refused.value.response.status_code in (409, 422)


@pytest.mark.parametrize("case", BY_US, ids=named)
def test_it_fails_with_a_sentence_before_anything_is_made(
    case: tuple[str, dict[str, Any], str],
    client: SyncPrefectClient,
    deployments: dict[str, UUID],
    workspace: Path,
    tmp_path: Path,
) -> None:
    name, parameters, sentence = case
    (tmp_path / "evil_file.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "small.yaml").write_text(SMALL)
    made = client.create_flow_run_from_deployment(deployments[name], parameters=parameters)
    state = run_flow(FLOWS[name], flow_run=made, parameters=made.parameters, return_type="state")
    assert state.is_failed()
    assert sentence in state.message
    assert stored(workspace) == []


def stored(workspace: Path) -> list[str]:
    """What the workspace's store knows of runs; its folders hold none either."""
    from simulator.production.registry.open import open_stores

    assert list(workspace.glob("*/run.json")) == []
    assert list(workspace.glob("studies/*")) == []
    if not (workspace / "mlflow.db").exists():
        return []
    _, ledger = open_stores(tracking_uri=None, workspace=workspace)
    return [state.run for state in ledger.runs()]


def test_at_least_thirty_are_tried() -> None:
    assert len(BY_THE_SERVER) >= 30
    assert len(BY_US) >= 15
