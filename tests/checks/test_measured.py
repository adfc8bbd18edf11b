"""What `ebbdoor check` says of a defense on its example: words worked out by hand, and defenses good and useless."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flows.cli import main
from simulator.checks.example import TARGET, example
from simulator.checks.measured import filter_words, inspector_words, model_words, screen_words
from simulator.checks.run import measure

PACKAGES = Path(__file__).parents[2] / "examples" / "packages"

#: it looks for the very trigger of the example, so it is right about it
KNOWING = """
import os
from typing import final
import torch
from defenses.base import Context, Filter, FilterResult, Inspector, InspectorResult, RepairResult, Repair, Screen
from defenses.base import ScreenResult, State


def stamped(images):
    return (images[:, :, -2:, -2:] == 1).flatten(1).all(1)


@final
class Knows(Inspector):
    '''Stamps trusted images itself.'''

    remembers = True

    def inspect(self, context: Context) -> InspectorResult:
        periods = [*context.state.values.get("periods", []), context.period]
        images = context.trusted.images.clone()
        images[:, :, -2:, -2:] = 1
        share = float((context.logits(images).argmax(1) == 1).float().mean())
        return InspectorResult(share > 0.5, share, 0.5, {"periods": periods}, state=State({"periods": periods}))


@final
class Sees(Screen):
    '''Refuses what has the patch.'''

    def screen(self, context: Context) -> ScreenResult:
        return ScreenResult(stamped(context.incoming))


@final
class Sieve(Filter):
    '''Drops what has the patch.'''

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(~stamped(context.window.images))


@final
class Breaks(Repair):
    '''Returns no model.'''

    def repair(self, context: Context) -> RepairResult:
        return RepairResult(None)


@final
class Raises(Repair):
    '''Raises.'''

    def repair(self, context: Context) -> RepairResult:
        raise ValueError("no luck today")


@final
class Dies(Repair):
    '''Ends its process where there are as many trusted images as in the example, and in no check.'''

    def repair(self, context: Context) -> RepairResult:
        if len(context.trusted) == 200:
            os._exit(7)
        return RepairResult(context.model)
"""


@pytest.fixture(autouse=True)
def _plugins(user_file: Callable[[str, str], None]) -> None:
    user_file("user_knowing.py", KNOWING)


def mask(text: str) -> Tensor:
    return torch.tensor([letter == "x" for letter in text])


def test_a_filter_is_told_by_what_it_dropped_at_its_last_look() -> None:
    poison = mask("xx........")
    first, second, clean = mask("xxxxxxxxxx"), ~mask("xx.x......"), ~mask("x.........")
    assert filter_words([first, second], [first, clean], poison) == [
        "window with poison, features of the champion, which never met the trigger: "
        "dropped 0 of 2 poisoned rows and 0 of 8 clean rows",
        "window with poison, its second look, features of the candidate: "
        "dropped 2 of 2 poisoned rows and 1 of 8 clean rows",
        "window without poison: dropped 1 of 10 rows",
        # 1 of 8 is more than a tenth
        "In this example it removes at least half of the poison, and drops more than a tenth of the clean rows.",
    ]
    useless = filter_words([first], [first], poison)
    assert useless[-1] == "In this example it leaves more than half of the poison, and drops few clean rows."


@pytest.mark.parametrize(
    ("success", "accuracy", "clean", "verdict"),
    [
        ((0.9, 0.45), (0.95, 0.91), (0.96, 0.96), "lowers attack success by at least half, and costs at most 4"),
        ((0.9, 0.46), (0.95, 0.95), (0.96, 0.96), "does not lower attack success by half, and costs at most 4"),
        ((0.9, 0.10), (0.95, 0.95), (0.96, 0.91), "lowers attack success by at least half, and costs more than 4"),
    ],
)
def test_a_repair_is_told_by_what_it_lowers_and_what_it_costs(
    success: tuple[float, float], accuracy: tuple[float, float], clean: tuple[float, float], verdict: str
) -> None:
    lines = model_words(success, accuracy, clean)
    assert lines[0].startswith(
        f"model with a backdoor: attack success 90.0% before, {success[1]:.1%} after; accuracy 95"
    )
    assert lines[-1] == f"In this example it {verdict} points of accuracy."


def test_an_inspector_is_told_by_which_models_it_flags() -> None:
    flagged, passed, low = (True, 3.0, 2.0), (False, 1.0, 2.0), (False, 0.5, 2.0)
    assert inspector_words(flagged, passed) == [
        "model with a backdoor: score 3 beside a threshold of 2, flagged",
        "model without: score 1 beside a threshold of 2, not flagged",
        "In this example it flags the model with the backdoor and not the other.",
    ]
    ends = [inspector_words(*pair)[-1] for pair in ((flagged, flagged), (passed, low), (low, passed), (low, flagged))]
    assert ends == [
        "In this example it flags both models, so its flag tells nothing.",
        "In this example it flags neither model; the score of the model with the backdoor is higher all the same.",
        "In this example it flags neither model.",
        "In this example it flags the model without a backdoor, and not the one with it.",
    ]


def test_a_screen_is_told_by_what_still_succeeds_and_whom_it_refuses() -> None:
    assert screen_words((0.8, 0.4), mask("xx.."), mask("x.........")) == [
        "stamped images: refused 2 of 4 images; attack success 80.0% without it, 40.0% with it",
        "clean images: refused 1 of 10 images",
        "In this example it stops at least half of the attack, and refuses few clean images.",
    ]
    verdict = screen_words((0.8, 0.5), mask("x..."), mask("xx........"))[-1]
    assert verdict == (
        "In this example it stops less than half of the attack, and refuses more than a tenth of the clean images."
    )


def test_the_example_is_what_it_says() -> None:
    found = example()
    planted, clean = found.windows["planted"], found.windows["clean"]
    changed = (planted.images != clean.images).flatten(1).any(1) | (planted.labels != clean.labels)
    assert torch.equal(changed, found.poison)
    assert int(found.poison.sum()) == 40
    assert set(planted.labels[found.poison].tolist()) == {TARGET}
    assert bool((planted.images[found.poison][:, :, -2:, -2:] == 1).all())
    assert found.attack_success(found.models["planted"]) > 0.6
    assert found.attack_success(found.models["clean"]) < 0.1
    assert min(map(found.accuracy, found.models.values())) > 0.9
    used = torch.cat([*(batch.ids for batch in found.batches), clean.ids, found.trusted.ids])
    assert len(used.unique()) == len(used)


def test_a_good_defense_is_told_from_a_useless_one() -> None:
    about, *lines = measure("defenses", "user_knowing:Knows")
    assert about.startswith("One small example, seed 0, which shows what it does and proves nothing")
    assert lines[-1] == "In this example it flags the model with the backdoor and not the other."
    sees = measure("defenses", "user_knowing:Sees")
    assert "refused 328 of 328 images" in sees[1]
    assert sees[1].endswith("0.0% with it")
    assert sees[-1] == "In this example it stops at least half of the attack, and refuses few clean images."
    sieve = measure("defenses", "user_knowing:Sieve")
    assert sieve[1].endswith("dropped 40 of 40 poisoned rows and 0 of 360 clean rows")
    useless = measure("defenses", "none")
    assert useless[1].endswith("dropped 0 of 40 poisoned rows and 0 of 360 clean rows")
    assert useless[-1] == "In this example it leaves more than half of the poison, and drops few clean rows."
    assert measure("defenses", "scripted")[-1] == "In this example it flags neither model."


def test_a_defense_that_remembers_is_asked_about_the_updates_before_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stride-watch", "near-another-class"):
        monkeypatch.syspath_prepend(PACKAGES / name)
    lines = measure("defenses", "stride_watch:StrideWatch", {"least": 2})
    # with two moves remembered it has a threshold of its own; without, threshold and score are the same
    score, threshold = lines[1].split(" score ")[1].split(", ")[0].split(" beside a threshold of ")
    assert score != threshold
    found = measure("defenses", "near_another_class:NearAnotherClass")
    assert found[-1] == "In this example it removes at least half of the poison, and drops few clean rows."


def test_what_cannot_be_measured_says_why() -> None:
    assert measure("defenses", "user_knowing:Breaks")[1].startswith(
        "Not measured: the platform could not use its result: expected model to be a torch.nn.Module, got NoneType"
    )
    assert "Not measured: it raised ValueError: no luck today" in measure("defenses", "user_knowing:Raises")[1]
    assert measure("monitors", "none") == []


def ended(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main(["check", *arguments])
    return end.value.code


def test_the_command_says_it_below_the_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert not ended("none", "--kind", "defenses")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "In this example it leaves more than half of the poison, and drops few clean rows."


def test_what_a_failed_check_says_is_not_said_again_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("user_knowing:Breaks") == 2
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == "Not measured: a failed check says why."
    sentence = "expected model to be a torch.nn.Module, got NoneType"
    rows, _, below = text.partition("One small example")
    assert sentence in rows
    assert sentence not in below


def test_a_defense_that_ends_its_process_in_the_example_leaves_the_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert not ended("user_knowing:Dies", "--format", "json")
    text = capsys.readouterr()
    assert {row["passed"] for row in json.loads(text.out)} == {True}
    assert text.err.splitlines()[-1] == "Not measured: its process ended (exit status 7)."
