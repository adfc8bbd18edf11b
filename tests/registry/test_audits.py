"""Audits end to end, in a real MLflow and in the processes of a run's defenses; every number is worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from flows.audits.order import AuditOrder
from flows.audits.perform import Audited, Store, perform
from flows.audits.rows import as_values, summary
from flows.cli import main
from simulator.errors import FLAGGED, ScenarioError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Registry, VersionPayload
from tests.registry.audit_plugins import Brightness, bright_weights
from tests.registry.conftest import MAIN, make_record
from tests.registry.seen import NAME

ARCHITECTURE = {
    "network": {"use": "tests.registry.audit_plugins:brightness"}, "channels": 1, "size": [8, 8], "classes": 2,
}  # fmt: skip
LOOKS, DARKENS, BREAKS, BRIGHT = (
    f"tests.registry.audit_plugins:{name}" for name in ("Looks", "Darkens", "Breaks", "RefusesBright")
)
#: where the classes of the three versions part, as shares of white
BORDERS = (0.5, 0.75, 0.25)
#: of the four trusted images, and whether it is bright
GREYS, LABELS = (0, 102, 153, 255), (0, 0, 1, 1)


@pytest.fixture
def trusted(tmp_path: Path) -> str:
    images = np.repeat(np.array(GREYS, np.uint8), 64).reshape(4, 8, 8)
    np.savez(tmp_path / "trusted.npz", images=images, labels=np.array(LABELS))
    return str(tmp_path / "trusted.npz")


@pytest.fixture
def lineage(registry: Registry) -> Registry:
    """Three versions of `Brightness`, each trained from the one before."""
    for ordinal, border in enumerate(BORDERS):
        parent = ordinal - 1 if ordinal else None
        registry.register(VersionPayload(MAIN, ordinal, parent, ordinal, bright_weights(border), ARCHITECTURE))
        now = LineageState(tuple(range(ordinal + 1)), ordinal, None)
        registry.publish(make_record(ordinal), {}, now)
    return registry


def audited(workspace: Path, *uris: str, **asked: Any) -> list[Audited]:
    heard: list[Audited] = []
    done = perform(AuditOrder(uris, **asked), Store(None, workspace), heard.append)
    assert heard == done
    return done


def test_a_lineage_is_audited_in_order_with_what_was_before(
    lineage: Registry, workspace: Path, client: Any, trusted: str, tmp_path: Path
) -> None:
    """By an inspector that remembers, a repair and a screen.

    Right of (0, .4, .6, 1): at a border of .5 all, of .75 all but .6, of .25 all but .4.
    """
    np.savez(tmp_path / "incoming.npz", images=np.repeat(np.array((0, 7, 255), np.uint8), 64).reshape(3, 8, 8))
    done = audited(
        workspace, f"models:/{NAME}", defenses=[LOOKS, DARKENS, BRIGHT], trusted=trusted,
        images=str(tmp_path / "incoming.npz"), save=tmp_path / "repaired", seed=1,
    )  # fmt: skip
    looks, darkens, bright = done[0::3], done[1::3], done[2::3]
    assert [one.finding.measured["accuracy"] for one in looks] == [1.0, 0.75, 0.75]
    assert [one.finding.flagged for one in looks] == [False, True, False]
    assert summary(done) == "1 of 3 models flagged"
    told = looks[2].finding.outcome.evidence
    assert {name: told[name] for name in ("subject", "champion", "earlier", "served", "seen", "trusted")} == {
        "subject": "candidate", "champion": 1, "earlier": [0, 1], "served": [[0], [1]], "seen": [0, 1, 2], "trusted": 4,
    }  # fmt: skip
    assert told["biases"] == [0.75]  # one version back, though two are known
    assert told["accuracies"] == [1.0, 0.75]
    assert told["outcomes"][1] == ["flagged", "changed"]  # what screens said is kept from defenses
    (asked,) = looks[0].finding.outcome.requests
    assert (asked.kind, asked.granted, asked.why) == ("hold", False, "an audit decides nothing")

    assert [one.finding.outcome.status for one in darkens] == ["changed", "changed", "passed"]  # the third is dark
    assert dict(darkens[0].finding.measured) == {
        "accuracy": 1.0, "accuracy_after": 0.75, "weights": 130, "weights_changed": 2,
    }  # fmt: skip
    assert darkens[2].saved is None
    assert darkens[1].saved == tmp_path / "repaired" / f"{NAME}-2-tests.registry.audit_plugins-Darkens.safetensors"
    assert load_file(darkens[1].saved)["classifier.bias"].tolist() == [0.25, -0.25]

    # by this seed given images 0 and 2 of the trusted, asked about 1 and 3: one is white; of the incoming one of three
    assert bright[0].finding.measured == {
        "accuracy": 1.0, "trusted": 2, "trusted_refused": 1, "images": 3, "images_refused": 1,
    }  # fmt: skip
    assert bright[0].finding.outcome.evidence["given"] == 4
    assert bright[0].finding.outcome.cost == {
        "samples": 2 + 3, "forward_passes": 2, "backward_passes": 0, "trusted_images": 4,
    }  # fmt: skip
    assert [one.finding.outcome.evidence["champion"] for one in bright] == [0, 1, 2]
    assert not any(one.finding.flagged for one in bright)

    tags = client.get_model_version(NAME, "2").tags
    assert tags["audit.inspector.tests.registry.audit_plugins_Looks"] == (
        "flagged: score 1 beside a threshold of 2; asked for a hold, which an audit does not grant"
    )
    assert tags["audit.repair.tests.registry.audit_plugins_Darkens"] == (
        "changed: changed 1 of 2 weight tensors; 2 of 130 weights; trusted accuracy 0.750 before, 0.750 after"
    )
    assert tags["audit.screen.tests.registry.audit_plugins_RefusesBright"] == (
        "screened: refused 1 of 3 images; refused 1 of 2 trusted images that it was not given"
    )
    values = json.loads(json.dumps([as_values(one) for one in done], allow_nan=False))
    assert values[3]["flagged"] is True
    assert values[3]["outcome"]["evidence"]["seen"] == [0, 1]


@pytest.mark.slow  # starts processes that import torch
def test_the_command_prints_all_that_is_known_and_what_needs_trusted_images_does_not_apply_without(
    lineage: Registry, workspace: Path, client: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one version, with those before it as history; nothing is written where nothing is to be."""
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(workspace))
    before = client.get_model_version(NAME, "3").tags
    defenses = [word for name in (LOOKS, DARKENS, BRIGHT, BREAKS) for word in ("--defense", name)]
    with pytest.raises(SystemExit) as ended:
        main(["audit", f"models:/{NAME}@champion", *defenses, "--no-write", "--fail-on-flag", "--format", "json"])
    assert ended.value.code == FLAGGED  # one defense failed: nobody may take that for a pass
    assert client.get_model_version(NAME, "3").tags == before
    looks, darkens, bright, breaks = json.loads(capsys.readouterr().out)
    assert {one["model"] for one in (looks, darkens, bright, breaks)} == {f"models:/{NAME}/3"}
    assert (looks["verdict"], looks["flagged"], looks["measured"]) == ("passed", False, {})
    evidence = looks["outcome"]["evidence"]
    assert (evidence["earlier"], evidence["biases"], evidence["accuracies"]) == ([0, 1], [0.75], [None, None])
    assert (evidence["seen"], evidence["trusted"]) == ([2], 0)
    assert (darkens["verdict"], darkens["outcome"]["status"]) == ("not applicable", "skipped")
    assert darkens["outcome"]["reason"] == "it needs trusted images, and none are given (--trusted FILE)"
    assert bright["verdict"] == "not applicable"
    assert "nothing to screen is given" in bright["outcome"]["reason"]
    assert breaks["verdict"] == "failed"
    assert "finite numbers" in breaks["outcome"]["reason"]


@pytest.fixture
def their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace: Path) -> Path:
    """A folder of somebody's who logs models with MLflow alone, into the same store."""
    import mlflow

    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "served.py").write_text("raise RuntimeError('a model file was executed')\n")
    (folder / "their_network.py").write_text((Path(__file__).parent / "audit_plugins.py").read_text())
    # by the environment alone: MLflow's own functions for it change the environment of all tests after this one, and
    # "as it was before" is there a store in the working folder
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = mlflow.create_experiment("theirs", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    return folder


def logged(folder: Path, architecture: dict[str, Any] | None, **more: Any) -> str:
    """Log and register safetensors weights of `Brightness` as a model from code that cannot be executed."""
    import mlflow
    from mlflow.models import Model

    save_file({name: value.half() for name, value in bright_weights().items()}, folder / "weights.safetensors")
    artifacts = {"weights": str(folder / "weights.safetensors")}
    if architecture is not None:
        (folder / "architecture.json").write_text(json.dumps(architecture))
        artifacts["architecture"] = str(folder / "architecture.json")
    (folder / "model").mkdir()
    described = Model()
    listed = {name: {"path": f"artifacts/{Path(path).name}", "uri": path} for name, path in artifacts.items()}
    (folder / "model" / "artifacts").mkdir()
    for path in artifacts.values():
        (folder / "model" / "artifacts" / Path(path).name).write_bytes(Path(path).read_bytes())
    (folder / "model" / "code").mkdir()
    (folder / "model" / "code" / "their_network.py").write_text((folder / "their_network.py").read_text())
    # Python imports a module of this name when it starts, if it is on the path
    (folder / "model" / "code" / "sitecustomize.py").write_text(f"open({str(folder / 'started')!r}, 'w')\n")
    (folder / "model" / "served.py").write_text((folder / "served.py").read_text())
    mlflow.pyfunc.add_to_model(
        described, loader_module="mlflow.pyfunc.loaders.code_model", model_code_path="served.py", artifacts=listed,
        code="code",
    )  # fmt: skip
    described.save(str(folder / "model" / "MLmodel"))
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder / "model"), "model")
    client = mlflow.MlflowClient(mlflow.get_tracking_uri(), registry_uri=mlflow.get_tracking_uri())
    client.create_registered_model("theirs")
    client.create_model_version("theirs", f"{run.info.artifact_uri}/model", run.info.run_id)
    return "models:/theirs/1"


def test_somebodys_model_with_its_own_network_is_audited_and_nothing_of_it_is_executed_here(
    their_folder: Path, workspace: Path, client: Any, trusted: str
) -> None:
    import sys

    theirs = {**ARCHITECTURE, "network": {"use": "their_network:brightness"}}
    uri = logged(their_folder, theirs)
    one, repaired = audited(workspace, uri, defenses=[LOOKS, DARKENS], trusted=trusted)
    assert one.finding.measured == {"accuracy": 1.0}
    assert repaired.finding.measured["accuracy_after"] == 0.75
    assert "their_network" not in sys.modules
    assert not (their_folder / "started").exists()
    found = client.get_model_version("theirs", "1")
    assert found.tags["audit.inspector.tests.registry.audit_plugins_Looks"].startswith("passed: score 1")
    files = [file.path for file in client.list_artifacts(found.run_id, "audits/theirs-1")]
    assert files == [
        f"audits/theirs-1/{surface}.tests.registry.audit_plugins_{name}.json"
        for surface, name in (("inspector", "Looks"), ("repair", "Darkens"))
    ]


@pytest.mark.slow  # starts processes that import torch
def test_weights_without_an_architecture_need_one_and_weights_of_another_network_are_refused(
    their_folder: Path, workspace: Path
) -> None:
    uri = logged(their_folder, None)
    with pytest.raises(ScenarioError, match=r"to come with an architecture.json, got none; write network, channels"):
        audited(workspace, uri, defenses=["neural-cleanse"])
    other = {"network": "standard-cnn", "channels": 1, "size": [8, 8], "classes": 2}
    with pytest.raises(ScenarioError, match=r"can be asked, got that it raised ScenarioError: .*weights"):
        audited(workspace, uri, defenses=["neural-cleanse"], architecture=other)


@pytest.mark.slow  # starts processes that import torch
def test_a_pickled_model_is_refused_unless_that_is_allowed_and_then_read_elsewhere(
    their_folder: Path,
    workspace: Path,
    trusted: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow.pytorch

    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(workspace))
    model = Brightness()
    model.load_state_dict(bright_weights())
    with mlflow.start_run():
        info = mlflow.pytorch.log_model(model, name="pickled", serialization_format="pickle", pip_requirements=[])
    facts = their_folder / "facts.json"
    facts.write_text('{"channels": 1, "size": [8, 8], "classes": 2}')
    uri = f"models:/{info.model_id}"
    words = ["audit", uri, "--defense", LOOKS, "--trusted", trusted, "--architecture", str(facts), "--format", "json"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == ScenarioError.exit_code
    assert "stored whole, as a pickle, which runs code when it is read" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*words, "--allow-pickle"])
    assert ended.value.code == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["measured"] == {"accuracy": 1.0}
    tags = mlflow.MlflowClient().get_logged_model(info.model_id).tags
    assert tags["audit.inspector.tests.registry.audit_plugins_Looks"].startswith("passed: score 1")


@pytest.mark.slow  # exports a network, which imports torch's compiler
def test_a_network_in_the_default_format_of_mlflow_is_refused_in_one_step(
    their_folder: Path, workspace: Path, trusted: str
) -> None:
    import mlflow.pytorch

    with mlflow.start_run():
        info = mlflow.pytorch.log_model(
            Brightness(), name="exported", input_example=np.zeros((2, 1, 8, 8), np.float32), pip_requirements=[]
        )
    for pickles in (False, True):
        with pytest.raises(ScenarioError, match=r"got one that is not: its network is stored as pt2"):
            audited(workspace, f"models:/{info.model_id}", defenses=[LOOKS], trusted=trusted, pickles=pickles)
