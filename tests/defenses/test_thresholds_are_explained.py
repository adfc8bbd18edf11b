"""Each defense says in one sentence of its docstring where its threshold comes from, and its class says the same."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

from defenses.base import Calibration
from simulator.scenario import catalog

OURS = [name for name in catalog.names("defenses") if not catalog.is_third_party("defenses", name)]
#: what the class says -> what the sentence holds, which also holds the word threshold
PHRASES = {
    "paper": "paper",
    "trusted images": "trusted images",
    "earlier versions": "earlier versions",
    "none": "no threshold",
}


def sentences(text: str) -> list[str]:
    """Return the sentences of a docstring's text above its example."""
    plain = " ".join(text.partition(">>>")[0].split())
    return re.split(r"(?<=[.:])\s+(?=[A-Z`])", plain)


def test_there_is_a_phrase_for_every_way_to_calibrate() -> None:
    assert set(PHRASES) == set(get_args(Calibration))
    assert len(OURS) > 20


@pytest.mark.parametrize("name", OURS)
def test_a_sentence_says_where_the_threshold_comes_from(name: str) -> None:
    built = catalog.build("defenses", name)
    told = [one for one in sentences(inspect.getdoc(catalog.resolve("defenses", name)) or "") if "hreshold" in one]
    assert [one for one in told if PHRASES[built.calibration] in one], f"{built.calibration}: {told}"


@pytest.mark.parametrize("name", OURS)
def test_the_page_lists_it_with_surface_and_threshold(name: str) -> None:
    built = catalog.build("defenses", name)
    page = (Path(__file__).parents[2] / "docs" / "defenses.md").read_text("utf-8")
    row = rf"^\| `{name}` \| {built.surface} \| .+ \| {built.calibration} \|$"
    assert name == "scripted" or re.search(row, page, re.MULTILINE)


@pytest.mark.parametrize("name", OURS)
def test_what_can_be_calibrated_has_a_threshold_to_begin_with(name: str) -> None:
    built = catalog.build("defenses", name)
    assert built.threshold_option is None or built.calibration != "none"
