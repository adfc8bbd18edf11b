"""Paths that lie outside this repository: in users' plug-ins, stored versions and registered deployments.

None of them may move without an alias. The lists are written out here on purpose: they are the promise.
"""

from __future__ import annotations

import ast
import re
from importlib import import_module
from inspect import isabstract, isclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent

#: what a plug-in is a subclass of
BASES = (
    "defenses.base.Filter",
    "defenses.base.Inspector",
    "defenses.base.Repair",
    "defenses.base.Screen",
    "defenses.base.Training",
    "simulator.observer.probes.base.Probe",
    "simulator.production.gate.Gate",
    "simulator.production.monitors.base.Monitor",
    "simulator.production.policy.Policy",
    "simulator.production.training.optimizers.OptimizerFactory",
    "simulator.production.training.schedules.Schedule",
    "simulator.world.attacks.base.Attack",
    "simulator.world.campaign.Campaign",
    "simulator.world.drift.Drift",
    "simulator.world.sources.base.Source",
)
#: what it is handed and returns
VALUES = (
    "defenses.base.Context",
    "defenses.base.DoesNotApply",
    "defenses.base.FilterResult",
    "defenses.base.Hold",
    "defenses.base.InspectorResult",
    "defenses.base.Purge",
    "defenses.base.Recipe",
    "defenses.base.RepairResult",
    "defenses.base.Retrain",
    "defenses.base.RollBack",
    "defenses.base.ScreenResult",
    "defenses.base.TrainingResult",
    "defenses.recipe_steps.trained_plainly",
    "simulator.observer.probes.base.ProbeView",
    "simulator.production.gate.GateView",
    "simulator.production.monitors.base.MonitorView",
    "simulator.production.policy.PolicyView",
    "simulator.records.Decision",
    "simulator.records.Judgement",
    "simulator.records.Reading",
    "simulator.records.Signal",
    "simulator.world.attacks.base.CLEAN",
    "simulator.world.attacks.base.COVER",
    "simulator.world.attacks.base.POISON",
    "simulator.world.attacks.base.Poisoned",
    "simulator.world.attacks.surrogate.SurrogateView",
    "simulator.world.attacks.training.TrainingView",
    "simulator.world.campaign.CampaignView",
    "simulator.world.sources.base.SourceData",
)
#: what the code beside a stored version's weights imports
SERVED = (
    "simulator.production.training.networks.build_network",
    "simulator.production.training.weights.load_into",
    "simulator.scenario.model.Use",
)
#: what a Prefect server calls
FLOWS = (
    "flows.advance.advance",
    "flows.audit.audit",
    "flows.simulate.simulate",
    "flows.studies.study.study",
    "flows.studies.timeline.timeline",
)


def found(path: str) -> Any:
    """What `module.name` names."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("path", [*VALUES, *SERVED])
def test_what_plug_ins_and_stored_versions_import_is_there(path: str) -> None:
    assert found(path) is not None


@pytest.mark.parametrize("path", BASES)
def test_what_plug_ins_are_subclasses_of_is_an_abstract_class(path: str) -> None:
    assert isclass(found(path))
    assert isabstract(found(path))


@pytest.mark.parametrize("path", FLOWS)
def test_what_a_prefect_server_calls_is_a_flow(path: str) -> None:
    from prefect import Flow

    assert isinstance(found(path), Flow)


def test_the_page_on_plug_ins_names_these_base_classes() -> None:
    page = (ROOT / "docs" / "writing-plugins.md").read_text("utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("| "))
    named = set(re.findall(r"`((?:simulator|defenses)\.[\w.]+)`", table))
    row = next(line for line in table.splitlines() if line.startswith("| defense "))
    others = re.findall(r"`([A-Z]\w+)`", row.split("|")[2])
    assert named | {f"defenses.base.{name}" for name in others} == set(BASES)


def test_a_version_stored_today_imports_nothing_else_of_ours() -> None:
    text = (ROOT / "simulator" / "production" / "registry" / "served_model.py").read_text("utf-8")
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    ours = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    assert {path for path in ours if path.startswith(("simulator.", "flows.", "defenses."))} == set(SERVED)


def test_the_deployments_name_these_flows() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
    assert {deployment["entrypoint"] for deployment in deployments} == set(FLOWS)
