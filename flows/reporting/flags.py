"""Prefect events for models that an audit flags, so that an automation or a person may react."""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event

from flows.audits.perform import Audited
from flows.reporting.away import unless_away

#: the name of the event
FLAG = "ebbdoor.audit.flag"


def tell_flag(audited: Audited) -> None:
    """Emit `FLAG` where an inspector flagged a model; the resource is `ebbdoor.model.<name>.<version>` or its id."""
    if audited.finding.flagged:
        unless_away(emit_event, FLAG, _resource(audited), payload=_payload(audited))


def _resource(audited: Audited) -> dict[str, str]:
    stored = audited.stored
    named = f"{stored.name}.{stored.number}" if stored.name else stored.model_id
    return {
        "prefect.resource.id": f"ebbdoor.model.{named}",
        "prefect.resource.name": stored.uri,
        "defense": audited.finding.outcome.name,
    }


def _payload(audited: Audited) -> dict[str, Any]:
    outcome = audited.finding.outcome
    return {
        "model": audited.stored.uri,
        "defense": outcome.name,
        "reason": outcome.reason,
        "score": outcome.evidence.get("score"),
        "threshold": outcome.evidence.get("threshold"),
    }
