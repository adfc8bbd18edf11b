"""Versions and runs that earlier code wrote load, predict, are trained further and are resumed to their ends."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flows.cli import main
from flows.runs.folder import find_run_folder
from simulator.loop.run import continue_run, open_run, play
from simulator.production.registry.base import Entry, VersionPayload
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import LineageKey, digest_of
from simulator.scenario.load import load_scenario

from ..golden.fingerprint import about, key_of
from .placeholder import PLACEHOLDER, UNTIL, replace_in

HERE = Path(__file__).parent / "v0.1.0"
MADE: dict[str, Any] = json.loads((HERE / "made.json").read_text("utf-8"))
LAST = 5

#: what records hold since then: an old period lacks it
SINCE = {
    *("clean/accuracy_seen_classes", "clean/better_than_chance", "class_rows", "seen"),
    *("backward_passes", "trusted_images", "shown"),
}
#: what a reason calls a challenger: it was its ordinal, and is its period since
CHALLENGER = re.compile(r"(challenger \d+|the challenger of period \d+) is in shadow")

#: by line
Digests = dict[str, list[str]]


def digests(entries: Mapping[str, Sequence[Entry]]) -> Digests:
    return {line: [entry.record.digest() for entry in periods] for line, periods in entries.items()}


def as_before(entries: Mapping[str, Sequence[Entry]]) -> Digests:
    """The digests of the records without what they hold since, or say in other words."""

    def known(value: Any) -> Any:
        if isinstance(value, str):
            return CHALLENGER.sub("a challenger is in shadow", value)
        if isinstance(value, list):
            return [known(item) for item in value]
        return {k: known(v) for k, v in value.items() if k not in SINCE} if isinstance(value, dict) else value

    return {
        line: [digest_of(known(entry.record.model_dump(mode="json"))) for entry in periods]
        for line, periods in entries.items()
    }


def undisturbed(run: str, *overrides: str) -> Digests:
    """What the run gives when today's code plays it from its scenario to its end, with the defaults of then."""
    scenario = load_scenario(str(HERE / "past.yaml"), overrides)
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = replace(open_run(scenario, registry, ledger, run), edition=1)
    return as_before(play(head, scenario, registry, ledger, processes=0))


def check_resumed(entries: Mapping[str, Sequence[Entry]], made: Mapping[str, Any], *overrides: str) -> None:
    """Old periods are as they were; where the machine computes as the one of before, all are as if never stopped."""
    found = digests(entries)
    assert {line: periods[: UNTIL + 1] for line, periods in found.items()} == made["digests"]
    assert {len(periods) for periods in found.values()} == {LAST + 1}
    if key_of(about()) == MADE["fingerprint"]:
        assert as_before(entries) == undisturbed(made["run"], *overrides)


@pytest.fixture
def memory() -> MemoryRegistry:
    """A registry that holds the versions of the folder run."""
    registry = MemoryRegistry()
    for name, versions in MADE["folder"]["versions"].items():
        arm, _, twin = name.partition(".")
        line = LineageKey(arm=arm, control="paced" if twin else "none")
        registry.versions[line] = {}
        for version in versions:
            weights = load_file(HERE / "folder" / "versions" / name / f"{version['ordinal']}.safetensors")
            registry.register(VersionPayload(lineage=line, weights=weights, **version))
    return registry


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace, unpacked where this test runs; what named its place names this one."""
    with tarfile.open(HERE / "workspace.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path.resolve() / "ebbdoor-runs"
    with closing(sqlite3.connect(folder / "mlflow.db", isolation_level=None)) as database:
        replace_in(database, PLACEHOLDER, str(folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(folder))
    return folder


def test_a_run_in_a_folder_is_resumed(memory: MemoryRegistry, tmp_path: Path) -> None:
    shutil.copytree(HERE / "folder", tmp_path / "folder")
    ledger = FolderLedger(tmp_path / "folder")
    head, scenario = continue_run(memory, ledger, "past")
    assert digests({line.name: ledger.entries(line) for line in head.lineages}) == MADE["folder"]["digests"]
    check_resumed(play(head, scenario, memory, ledger, processes=0), MADE["folder"])


@pytest.mark.parametrize("model", MADE["workspace"]["logits"], ids=["arm", "twin"])
def test_a_version_in_mlflow_predicts_as_it_did_and_can_be_trained(
    model: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.pyfunc

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
    images = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    loaded = mlflow.pyfunc.load_model(f"models:/{model}@champion")
    np.testing.assert_allclose(loaded.predict(images), MADE["workspace"]["logits"][model], rtol=1e-4, atol=1e-4)

    network = loaded.unwrap_python_model().network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.nn.functional.cross_entropy(network(torch.from_numpy(images)), torch.arange(4)).backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert all(not torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_a_run_in_a_workspace_is_resumed(workspace: Path) -> None:
    run = MADE["workspace"]["run"]
    with pytest.raises(SystemExit) as ended:
        main(["resume", run, "--no-prefect", "--processes", "0", "--display", "none"])
    assert ended.value.code == 0
    assert json.loads((workspace / run / "run.json").read_text("utf-8"))["finished"] is True
    _, ledger = find_run_folder(run, workspace).open_stores()
    lines = ledger.head(run).lineages
    check_resumed({line.name: ledger.entries(line) for line in lines}, MADE["workspace"], "arms={main: {}}")
