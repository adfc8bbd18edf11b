"""The progress of commands that work step by step."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
from pathlib import Path
from subprocess import Popen

import pytest

from flows.displays.steps import Steps, steps
from flows.displays.study import Counted
from simulator.study.progress import StudyEvent

#: a command of two steps on a terminal
COMMAND = """
import time
from flows.displays.steps import steps
with steps("calibrating") as shown:
    time.sleep(1)
    shown.done(0.5)
    shown.say("seed 1: [8] looked at")
    time.sleep(1)
"""


def test_a_log_has_the_time_left_beside_each_line() -> None:
    at, lines = [0.0], list[str]()
    shown = Steps("asking", lines.append, now=lambda: at[0])
    shown.expect(4)
    shown.say("begun")
    at[0] = 10.0
    shown.step()
    shown.say("one")
    assert shown.line == "asking, 10 s so far, about 30 s left"
    at[0] = 20.0
    assert shown.line == "asking, 20 s so far, about 20 s left"
    at[0] = 60.0  # longer than the step before: not 0 s left
    assert shown.line == "asking, 60 s so far, about 15 s left"
    for _ in range(3):
        shown.step()
    shown.say("four")
    assert lines == ["begun", "one, about 30 s left", "four"]


def test_elsewhere_than_on_a_terminal_only_what_is_said_is_printed() -> None:
    stream = io.StringIO()
    with steps("calibrating", stream) as shown:
        shown.say("seed 1: [8] looked at")
    assert stream.getvalue() == "seed 1: [8] looked at\n"


def test_a_terminal_shows_the_time_below_what_is_said(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with Popen([sys.executable, "-c", COMMAND], stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as child:
        os.close(theirs)
        shown = ""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            shown += data.decode()
    os.close(ours)
    assert child.returncode == 0
    assert re.search(r"calibrating, \d s so far", shown)
    assert shown.count("seed 1: [8] looked at") == 1
    assert re.search(r"seed 1.*calibrating, \d s so far, about \d s left", shown, re.DOTALL)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (None, "What is complete is kept"),
        (StudyEvent("timeline-finished", 40, 3, 12, 1), "15 of 40 timelines are complete"),
    ],
)
def test_a_study_knows_how_much_of_it_is_safe(event: StudyEvent | None, words: str) -> None:
    counted = Counted()
    if event is not None:
        counted(event)
    assert counted.words == words
