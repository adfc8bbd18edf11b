"""Drop folders that a scenario cannot have, each with its sentence; all found before anything is trained."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from simulator.errors import ScenarioError
from simulator.preflight.scenario import check_scenario
from simulator.scenario.load import load_scenario


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["stream.arrivals={}"], "expected stream.arrivals.folder to be given, got nothing; add it"),
        (["stream.arrivals.folder=3"], "expected stream.arrivals.folder to be text, got 3; put it in quotes"),
        (["stream.arrivals.megabytes=0"], "expected stream.arrivals.megabytes to be above 0, got 0; raise it"),
        (["stream.arrivals.waiting=0"], "expected stream.arrivals.waiting to be above 0, got 0; raise it"),
        (
            ["stream.arrivals.files=3"],
            "stream.arrivals: expected a key arrivals knows, got 'files'; did you mean 'folder'?",
        ),
        (
            ["drift.1={use: label-prior, share: 0.1}"],
            "expected no drift of the class shares with stream.arrivals, got 'label-prior': a file's rows are what "
            "they are; leave it out, or write files with such shares",
        ),
        (
            ["stream.reuse=recycle"],
            "expected stream.reuse to be refuse with stream.arrivals, got recycle: a file becomes a period exactly "
            "once; leave it out",
        ),
        (
            ["arms.constant={stream.arrivals.folder: other}"],
            "arm 'constant': expected stream.arrivals to be the same in every arm, got another; set it for the run",
        ),
        (
            ["arms.constant={stream.arrivals: null}"],
            "arm 'constant': expected stream.arrivals to be the same in every arm, got another; set it for the run",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_drop_folder_that_cannot_be_is_refused(overrides: list[str], sentence: str) -> None:
    folder = [] if overrides == ["stream.arrivals={}"] else ["stream.arrivals.folder=drop"]
    with pytest.raises(ScenarioError, match=rf"^{re.escape(sentence)}$"):
        check_scenario(load_scenario("quickstart", [*folder, *overrides]))


def test_the_folder_is_looked_at_before_training(tmp_path: Path) -> None:
    here = load_scenario("digits", [f"stream.arrivals.folder='{tmp_path}'"])
    check_scenario(here, data=True)
    assert list(tmp_path.iterdir()) == []
    missing = load_scenario("digits", [f"stream.arrivals.folder='{tmp_path}/none'"])
    with pytest.raises(ScenarioError, match=r"to be a folder, got no such folder at .*/none; make it, or correct it"):
        check_scenario(missing, data=True)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # root may write whatever the mode says
    with pytest.raises(ScenarioError, match="to be writable, so that accepted files can be moved, got one that is not"):
        check_scenario(load_scenario("digits", [f"stream.arrivals.folder='{tmp_path}'"]), data=True)


def test_a_limit_that_no_file_can_keep_is_refused(tmp_path: Path) -> None:
    # 15,000 + 500 + 50 rows of 64 pixels and a label's byte each are 1.01 megabytes
    keys = ["stream.batch=15000", "trusted.images=500", "stream.arrivals={megabytes: 1}", "stream.base=50"]
    scenario = load_scenario("digits", [*keys, f"stream.arrivals.folder='{tmp_path}'"])
    sentence = (
        r"expected stream\.arrivals\.megabytes to allow for 15550 images of digits \(15000 to train on, 500 for the "
        r"defender, 50 to test on\), 1\.0 megabytes, got 1; raise it, or lower stream\.batch or trusted\.images"
    )
    with pytest.raises(ScenarioError, match=sentence):
        check_scenario(scenario, data=True)
