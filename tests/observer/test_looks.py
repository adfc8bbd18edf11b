"""What the report shows of each defense, look by look: read as a person would, with pictures taken apart again."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from simulator.observer.export import export_of
from simulator.observer.remembered import remembered
from simulator.observer.report.html import report
from simulator.observer.report.looks import defenses_of
from simulator.observer.report.score_plots import plots_of
from simulator.production.registry.base import Entry
from simulator.records import Asked, Outcome
from simulator.system.png import png_of

MakeEntry = Callable[..., Entry]
#: a white pixel in the right lower corner of two by two, and a red, a green, a blue and a black one
GREY, COLOURS = bytes([0, 0, 0, 255]), bytes([255, 0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0])


def trigger(of_class: int, pixels: bytes, shape: list[int]) -> dict[str, Any]:
    return {"of_class": of_class, "shape": shape, "pixels": base64.b64encode(pixels).decode()}


def look(status: str = "passed", **fields: Any) -> Outcome:
    values: dict[str, Any] = {"surface": "inspector", "name": "mine", "status": status, "reason": "looked"}
    return Outcome(**values | fields)


def path_of(svg: str, colour: str) -> str:
    found = re.search(rf'<path d="([^"]*)" stroke="{colour}"', svg)
    assert found is not None
    return found.group(1)


def test_an_image_comes_back_as_it_was() -> None:
    assert np.array(Image.open(io.BytesIO(png_of(GREY, (1, 2, 2))))).tolist() == [[0, 0], [0, 255]]
    colours = np.array(Image.open(io.BytesIO(png_of(COLOURS, (3, 2, 2)))))
    assert colours.tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 0, 0]]]
    two = np.array(Image.open(io.BytesIO(png_of(bytes([7, 9]), (2, 1, 1)))))
    assert two.tolist() == [[7]]  # of two channels the first


def test_bars_stand_on_zero_and_the_highest_is_told() -> None:
    """28 pixels: 2 stands at the upper edge, 1; -2 at the lower, 27; 0 halfway, 14."""
    (plot,) = plots_of({"class_scores": {"count": 3, "values": [1.0, -2.0, 2.0]}})
    assert plot["caption"] == "3 classes: highest 2 (class 2), median 1"
    assert path_of(plot["svg"], "#D55E00") == "M25 14V1"
    assert path_of(plot["svg"], "#5F6B73") == "M5 14V7.5M15 14V27"
    assert 'width="30"' in plot["svg"]


def test_many_rows_are_a_strip_of_their_deciles() -> None:
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 40.0]
    (plot,) = plots_of({"scores": {"count": 1200, "values": values}})
    assert plot["caption"] == "1,200 rows: 0 to 40, median 5, 90 % at most 9"
    assert path_of(plot["svg"], "#24292E") == "M20 3V25"  # 5 of 40, on 160 pixels
    assert path_of(plot["svg"], "#7C8A96") == "M0 14H160"


def test_layers_have_a_plot_each_and_names_of_strangers_are_escaped() -> None:
    one = {"count": 1, "values": [0.5]}
    plots = plots_of({"channel_scores": {"conv<1>": one, "conv2": one}})
    assert [plot["caption"] for plot in plots] == [
        "1 channel of conv<1>: highest 0.5 (channel 0), median 0.5",
        "1 channel of conv2: highest 0.5 (channel 0), median 0.5",
    ]
    assert "conv&lt;1&gt;" in plots[0]["svg"]
    assert "<1>" not in plots[0]["svg"]


def test_equal_scores_and_a_single_zero_are_drawn_too() -> None:
    (flat,) = plots_of({"scores": {"count": 500, "values": [3.0] * 11}})
    assert path_of(flat["svg"], "#24292E") == "M80 3V25"
    (zero,) = plots_of({"scores": {"count": 1, "values": [0.0]}})
    assert path_of(zero["svg"], "#D55E00") == "M5 27V27"


def test_a_look_tells_verdict_version_cost_requests_and_draws_its_triggers(entry: MakeEntry) -> None:
    asked = [
        Asked(kind="roll-back", reason="they moved", to=0, granted=True, why="ordinal 0 serves from now on"),
        Asked(kind="retrain", reason="to forget", recipe={"epochs": 2}, why="the scenario does not allow it"),
    ]
    shown = {"triggers": [trigger(3, GREY, [1, 2, 2])], "class_scores": {"count": 2, "values": [0.5, 4.0]}}
    found = look(
        "flagged",
        evidence={"score": 4.0, "threshold": 2.0, "outlying": [3], "shown": shown},
        cost={"samples": 1200, "forward_passes": 30, "backward_passes": 10, "trusted_images": 60},
        requests=asked,
    )
    run = export_of({"name": "told"}, {"main": [entry(0), entry(1, outcomes=[found])]})
    (table,) = defenses_of(run)
    assert (table["arm"], table["name"], table["surface"], table["counts"]) == (
        "main",
        "mine",
        "inspector",
        "1 flagged",
    )
    (told,) = table["looks"]
    assert (told["period"], told["version"], told["score"]) == (1, 2, "4 / 2")
    assert told["evidence"] == "outlying [3]"
    assert told["cost"] == "1,200 images, 30 forward and 10 backward passes, 60 trusted"
    page = report(run)
    became = "they moved; version 1 (ordinal 0) serves from now on"
    assert f"<strong>granted</strong>: roll-back to version 1 (ordinal 0) – {became}" in page
    refused = "<strong>refused</strong>: retrain with {&#34;epochs&#34;: 2} – to forget; the scenario does not allow it"
    assert refused in page
    (image,) = re.findall(r'alt="reversed trigger of class 3" src="data:image/png;base64,([^"]+)"', page)
    assert np.array(Image.open(io.BytesIO(base64.b64decode(image)))).tolist() == [[0, 0], [0, 255]]
    assert "2 classes: highest 4 (class 1), median 2.25" in page


def test_a_champion_is_the_version_that_served_before_and_an_operator_may_have_changed_it(entry: MakeEntry) -> None:
    champion = [look(subject="champion"), look(subject="window", surface="filter", name="sieve")]
    lines = {"main": [entry(0), entry(1), entry(2, outcomes=champion)]}
    inspector, sieve = defenses_of(export_of({}, lines))
    assert inspector["looks"][0]["version"] == 2  # ordinal 1
    assert sieve["looks"][0]["version"] == 3  # trained on that window
    run = export_of({}, lines)
    back = {"kind": "roll back", "to": 0, "reason": "mine", "numbers": {}}
    rows = [dict(row) | ({"from_outside": [back]} if row["period"] == 2 else {}) for row in run.rows]
    (inspector, _) = defenses_of(type(run)(run.scenario, rows, run.summary))
    assert inspector["looks"][0]["version"] == 1


def test_memory_is_told_in_the_period_in_which_it_was_written(entry: MakeEntry) -> None:
    tensors = base64.b64encode(save({"mean": torch.zeros(4, 3), "count": torch.tensor(2)})).decode()
    states = {"mine": {"period": 1, "values": {"moves": [0.5]}, "tensors": tensors}}
    assert remembered({"defense_states": states}, 2) == {}
    assert remembered({"defense_states": {"mine": {"period": 0, "values": {"text": "x" * 999}}}}, 0) == {
        "mine": {"values": '{"text": "' + "x" * 290 + " ...", "tensors": {}}
    }
    found = [entry(period, outcomes=[look(), look(subject="champion")]) for period in range(3)]
    kept = [
        Entry(one.record.model_copy(update={"state": {"platform": {"defense_states": states}}}), "", one.metadata)
        for one in found
    ]
    run = export_of({"name": "kept"}, {"main": kept})
    assert [row.get("memory") for row in run.lineage("main")] == [
        None, {"mine": {"values": '{"moves": [0.5]}', "tensors": {"count": [], "mean": [4, 3]}}}, None,
    ]  # fmt: skip
    page = report(run)
    assert page.count("remembers {") == 1  # of both looks there is one state in the record: the last
    assert "after the period it remembers {&#34;moves&#34;: [0.5]}, count one number, mean 4 × 3" in page


def test_what_the_reason_says_is_not_said_twice_and_a_defenses_own_evidence_is_kept(entry: MakeEntry) -> None:
    screen = {"rows": 9, "refused": 2, "answered": 3, "mean": 0.5}
    sieve = {"rows": 9, "dropped": 2, "features_of": "champion"}
    outcomes = [
        look("flagged", surface="screen", name="a", reason="refused 2 of 9 images, answered 3", evidence=screen),
        look("changed", surface="filter", name="b", evidence=sieve),
        look(name="c", evidence={"rows": [1, 2], "answered": "no"}),
    ]
    run = export_of({"name": "told"}, {"main": [entry(0, outcomes=outcomes)]})
    said = [table["looks"][0]["evidence"] for table in defenses_of(run)]
    assert said == ["mean 0.5", 'features_of "champion"', 'rows [1, 2], answered "no"']
    assert "<td>flagged: refused 2 of 9 images, answered 3</td>" in report(run)


@pytest.mark.parametrize("own", [{"mine": 1}, [1, 2], "text", {"triggers": [{"pixels": "?"}]}])
def test_evidence_that_a_defense_called_shown_before_the_platform_did_is_not_drawn(entry: MakeEntry, own: Any) -> None:
    page = report(export_of({"name": "old"}, {"main": [entry(0, outcomes=[look(evidence={"shown": own})])]}))
    assert "data:image/png" not in page


def test_telling_looks_stay_on_the_page_and_are_drawn_first(entry: MakeEntry) -> None:
    """Noise does not compress: two images of 3 x 64 x 64 are 33,000 characters, so 30 looks fill an arm's million."""
    noise = np.random.default_rng(0).integers(0, 256, 3 * 64 * 64, dtype=np.uint8).tobytes()
    shown = {"triggers": [trigger(label, noise, [3, 64, 64]) for label in range(2)]}
    quiet, loud = (look(status, evidence={"shown": shown}) for status in ("passed", "flagged"))
    lines = {
        arm: [entry(p, arm=arm, outcomes=[loud if p == 40 else quiet]) for p in range(100)] for arm in ("main", "other")
    }
    table, other = defenses_of(export_of({}, lines))
    assert (table["undrawn"], other["undrawn"]) == (30, 30)
    assert (len(table["looks"]), table["left_out"], table["counts"]) == (60, 40, "99 passed, 1 flagged")
    assert [one["period"] for one in table["looks"]][:2] == [40, 41]
    assert len(table["looks"][0]["triggers"]) == 2
    drawn = [one["period"] for one in table["looks"] if one["triggers"]]
    assert drawn == [40, *range(71, 100)]
    page = report(export_of({"name": "noisy"}, lines))
    assert len(page.encode()) < 5_000_000
    assert "40 more looks left out here" in page
    assert "What 30 looks showed is not drawn" in page
