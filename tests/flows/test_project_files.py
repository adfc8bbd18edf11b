"""The files around the code: what they name exists, and they carry nothing of a machine."""

from __future__ import annotations

import importlib
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
LOCK = (ROOT / "constraints.txt").read_text().splitlines()


def test_the_lock_holds_names_and_versions_only() -> None:
    assert [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!]*", line)] == []


def test_the_lock_fits_the_bounds_of_every_dependency() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCK)}
    for text in [
        *project["dependencies"],
        *(need for extra in ("dev", "peers") for need in project["optional-dependencies"][extra]),
    ]:
        need = Requirement(text)
        assert need.specifier.contains(locked[canonicalize_name(need.name)]), text


def test_a_package_whose_inner_parts_are_used_is_held_to_the_version_that_was_measured() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    inner = (ROOT / "simulator/production/monitors/evidently_report.py").read_text()
    assert "evidently.legacy" in inner
    assert [need for need in project["dependencies"] if need.startswith("evidently")] == [
        line for line in LOCK if line.startswith("evidently==")
    ]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_an_entry_point_is_a_flow_that_takes_the_parameters(deployment: dict[str, Any]) -> None:
    from prefect import Flow

    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert isinstance(flow, Flow)
    asked = {
        "audit": {"models": ["models:/ebbdoor.quick-s0.main"]},
        "timeline": {"folder": "studies/small", "name": "main-s0"},
    }
    assert flow.validate_parameters(asked.get(flow.name, {}) | deployment.get("parameters", {}))


def test_deployments_use_the_pools_that_up_makes() -> None:
    from flows.servers.start import POOLS

    assert {deployment["work_pool"]["name"] for deployment in DEPLOYMENTS} == set(POOLS)
    assert POOLS["ebbdoor-gpu"] == 1


def test_the_schedule_waits_to_be_started() -> None:
    scheduled = next(deployment for deployment in DEPLOYMENTS if deployment["name"] == "scheduled")
    assert [schedule["active"] for schedule in scheduled["schedules"]] == [False]


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_is_confined(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "docker.sock" not in yaml.safe_dump(service)


def test_servers_are_watched_and_mlflow_knows_its_names() -> None:
    services = COMPOSE["services"]
    assert all("healthcheck" in services[name] for name in ("prefect", "mlflow"))
    assert any("--allowed-hosts=mlflow:5000" in part for part in services["mlflow"]["entrypoint"])


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.gpu"])
def test_an_image_is_not_root_and_copies_what_exists(name: str) -> None:
    text = (ROOT / "docker" / name).read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    known = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "ENTRYPOINT", "CMD"}
    assert {line[0] for line in lines} <= known
    assert [line[1] for line in lines if line[0] == "USER"] == ["ebbdoor"]
    for line in lines:
        if line[0] == "COPY" and not line[1].startswith("--from"):
            for source in [part for part in line[1:-1] if not part.startswith("--")]:
                assert (ROOT / source).exists(), source


def test_docker_is_no_package() -> None:
    """It would shadow the package of that name, which Prefect and MLflow import."""
    assert not (ROOT / "docker" / "__init__.py").exists()


def test_contributing_is_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().split()) < 200


def test_make_knows_its_targets() -> None:
    targets = ["demo", "test", "test-slow", "lint", "study", "bench", "bench-peers", "up", "down", "ui", "clean"]
    made = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
