"""What an audit's finding looks like on a model in MLflow: tags, and a file of evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from simulator.production.auditing.finding import Finding
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.tags import cut, safe_key


def audit_tags(finding: Finding) -> dict[str, str]:
    """Return `audit.<surface>.<name>` -> verdict and reason, and `audit_cost.<surface>.<name>` -> what it has cost.

    The keys are those of every audit by that defense: what a later one finds takes the place of what is there.
    """
    of = f"{finding.outcome.surface}.{finding.outcome.name}"
    return {
        safe_key(f"{tags.AUDIT}{of}"): cut(f"{finding.verdict}: {finding.said}"),
        safe_key(f"{tags.AUDIT_COST}{of}"): cut(finding.cost),
    }


def audit_file(finding: Finding) -> str:
    """Return the path of a finding's evidence among a model's files."""
    of = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{finding.outcome.surface}.{finding.outcome.name}")[:200]
    return f"{tags.AUDITS_FOLDER}/{of}.json"


def audit_evidence(finding: Finding, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the finding as JSON values; `about` says of what and with what it was made."""
    return {
        **about,
        "outcome": finding.outcome.model_dump(mode="json"),
        "measured": dict(finding.measured),
        "seconds": round(finding.seconds, 3),
    }
