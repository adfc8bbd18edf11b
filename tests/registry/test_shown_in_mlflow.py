"""What a defense showed is found in MLflow by a user of MLflow: images, tables of scores, and tags that lead there."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from simulator.production.registry.base import Registry, VersionPayload
from simulator.production.registry.mlflow.metrics import outcome_tags
from simulator.production.registry.mlflow.shown import outcome_files
from simulator.records import Asked, Outcome, PeriodRecord

from .seen import models, play, version

#: a white pixel in the right lower corner of two by two
TRIGGER = {"of_class": 3, "shape": [1, 2, 2], "pixels": base64.b64encode(bytes([0, 0, 0, 255])).decode()}
SHOWN = {"class_scores": {"count": 2, "values": [0.5, 4.0]}, "triggers": [TRIGGER]}


def outcome(**fields: Any) -> Outcome:
    values: dict[str, Any] = {"surface": "inspector", "name": "mine", "status": "flagged", "reason": "r"}
    return Outcome(**values | fields)


def test_images_scores_and_requests_are_on_the_version_that_was_looked_at(
    registry: Registry,
    client: Any,
    payload: Callable[..., VersionPayload],
    record: Callable[..., PeriodRecord],
    tmp_path: Path,
) -> None:
    asked = [Asked(kind="roll-back", reason="it moved", to=0, why="the scenario does not allow it")]
    found = outcome(evidence={"shown": SHOWN}, requests=asked)
    play(registry, payload(0), record(0))
    play(registry, payload(1), record(1, outcomes=[found]))
    tags = version(client, 1).tags
    assert tags["outcome.inspector.mine"] == "flagged: r (period 1)"
    assert tags["shown.inspector.mine"] == ("2 class_scores; reversed triggers of class 3 (see outcomes/period-0001)")
    assert tags["request.roll-back.mine"] == "refused: it moved; the scenario does not allow it (period 1)"
    assert not any(name.startswith(("shown.", "request.")) for name in version(client, 0).tags)
    (model,) = models(client, "tags.ordinal = '1'")
    folder = Path(model.artifact_location.removeprefix("file://")) / "outcomes"
    assert json.loads((folder / "period-0001.json").read_text())[0]["evidence"] == {"shown": SHOWN}
    look = folder / "period-0001" / "inspector.mine"
    assert np.array(Image.open(look / "trigger-of-class-3.png")).tolist() == [[0, 0], [0, 255]]
    assert (look / "scores.csv").read_text() == (
        "scores,layer,of,place,value\nclass_scores,,class,0,0.5\nclass_scores,,class,1,4.0\n"
    )


def test_layers_deciles_and_looks_of_the_same_name_are_told_apart() -> None:
    deciles = [float(place) for place in range(11)]
    repair = outcome(
        surface="repair", evidence={"shown": {"channel_scores": {"conv, 1": {"count": 1, "values": [2.0]}}}}
    )
    sieve = outcome(
        surface="filter", name="my/own:Sieve", evidence={"shown": {"scores": {"count": 99, "values": deciles}}}
    )
    champion = outcome(subject="champion", evidence={"shown": SHOWN})
    found = outcome_files([repair, sieve, champion, champion], 12)
    assert set(found) == {
        "outcomes/period-0012.json",
        "outcomes/period-0012/repair.mine/scores.csv",
        "outcomes/period-0012/filter.my_own_Sieve/scores.csv",
        "outcomes/period-0012/inspector.mine.champion/scores.csv",
        "outcomes/period-0012/inspector.mine.champion/trigger-of-class-3.png",
        "outcomes/period-0012/inspector.mine.champion.2/scores.csv",
        "outcomes/period-0012/inspector.mine.champion.2/trigger-of-class-3.png",
    }
    assert found["outcomes/period-0012/repair.mine/scores.csv"].decode().splitlines()[1:] == [
        'channel_scores,"conv, 1",channel,0,2.0'
    ]
    rows = found["outcomes/period-0012/filter.my_own_Sieve/scores.csv"].decode().splitlines()
    assert rows[1] == "scores,,decile of 99,0,0.0"
    assert len(rows) == 12
    image = Image.open(io.BytesIO(found["outcomes/period-0012/inspector.mine.champion/trigger-of-class-3.png"]))
    assert image.size == (2, 2)
    texts = outcome_tags([repair, sieve, champion, champion], 12)
    assert texts["shown.repair.mine"] == "channel_scores of conv, 1 (see outcomes/period-0012)"
    assert texts["shown.filter.my/own_Sieve"] == "99 scores (see outcomes/period-0012)"
    assert {"shown.inspector.mine.champion", "shown.inspector.mine.champion.2"} <= texts.keys()


def test_what_a_defense_of_before_called_shown_itself_stays_evidence() -> None:
    found = outcome(evidence={"shown": {"mine": 1}})
    assert set(outcome_files([found], 0)) == {"outcomes/period-0000.json"}
    assert set(outcome_tags([found], 0)) == {"outcome.inspector.mine"}


def test_a_request_names_versions_by_mlflows_number_and_the_ordinal() -> None:
    asked = Asked(kind="roll-back", reason="they moved", to=0, granted=True, why="ordinal 0 serves from now on")
    texts = outcome_tags([outcome(requests=[asked])], 3, {0: 7})
    assert texts["request.roll-back.mine"] == (
        "granted: they moved; version 7 (ordinal 0) serves from now on (period 3)"
    )
