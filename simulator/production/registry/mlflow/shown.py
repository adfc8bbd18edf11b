"""What a defense showed of its method, as files and tags of a version in MLflow: images, and tables of scores."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any, Final

from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.tags import safe_key
from simulator.records import Outcome
from simulator.system.png import png_of

#: what the places in a list of scores are, where it holds all of them
_PLACES: Final = {"scores": "row", "class_scores": "class", "channel_scores": "channel"}
_TRIGGERS: Final = "triggers"


def outcome_files(outcomes: Sequence[Outcome], period: int) -> dict[str, bytes]:
    """Return the files of a period's outcomes, by their paths in a version.

    `outcomes/period-0007.json` has all of them. Where an outcome shows something, a folder of the same name holds a
    folder for it, with `scores.csv` and an image of each reversed trigger.
    """
    found: dict[str, bytes] = {}
    for outcome in outcomes:
        shown, folder = _shown(outcome), _folder(outcome, period, found)
        rows = list(_scores(shown))
        if rows:
            found[f"{folder}/scores.csv"] = _csv([("scores", "layer", "of", "place", "value"), *rows])
        for trigger in shown.get(_TRIGGERS, ()):
            image = png_of(base64.b64decode(trigger["pixels"]), trigger["shape"])
            found[f"{folder}/trigger-of-class-{trigger['of_class']}.png"] = image
    # last: that it reaches the disk has the folder beside it reach the disk too
    values = [outcome.model_dump(mode="json") for outcome in outcomes]
    return {**found, f"{tags.OUTCOMES_FILE}{period:04d}.json": json.dumps(values, indent=1).encode()}


def shown_text(outcome: Outcome) -> str | None:
    """Return in words what an outcome shows; None where it shows nothing."""
    shown = _shown(outcome)
    counts = {name: shown.get(name) for name in ("scores", "class_scores")}
    parts = [f"{scores['count']} {name}" for name, scores in counts.items() if scores]
    layers = shown.get("channel_scores", {})
    parts += [f"channel_scores of {', '.join(layers)}"] if layers else []
    classes = ", ".join(str(one["of_class"]) for one in shown.get(_TRIGGERS, ()))
    parts += [f"reversed triggers of class {classes}"] if classes else []
    return "; ".join(parts) or None


def _shown(outcome: Outcome) -> Mapping[str, Any]:
    """What the platform wrote; nothing of evidence that a defense of an earlier release called so itself."""
    found = outcome.evidence.get("shown")
    if found is None:
        return {}
    from simulator.production.defending.shown import Shown  # with torch, which reading a ledger does not need

    try:
        return Shown.model_validate(found).model_dump(mode="json")
    except ValueError:
        return {}


def _folder(outcome: Outcome, period: int, taken: Mapping[str, bytes]) -> str:
    about = tags.ON_CHAMPION if outcome.subject == "champion" else ""
    name = safe_key(f"{outcome.surface}.{outcome.name}{about}").replace("/", "_")
    first = folder = f"{tags.OUTCOMES_FILE}{period:04d}/{name}"
    number = 2
    while any(path.startswith(f"{folder}/") for path in taken):
        folder, number = f"{first}.{number}", number + 1
    return folder


def _scores(shown: Mapping[str, Any]) -> Iterator[tuple[str, str, str, int, float]]:
    """Rows of the table: which scores, of which layer, of what (a row, class, channel or decile), place, value."""
    for name, what in _PLACES.items():
        found = shown.get(name)
        lists = {"": found} if name != "channel_scores" else found
        for layer, scores in (lists or {}).items():
            if scores:
                of = what if len(scores["values"]) == scores["count"] else f"decile of {scores['count']}"
                yield from ((name, layer, of, place, value) for place, value in enumerate(scores["values"]))


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
