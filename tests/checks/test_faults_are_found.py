"""Each check fails for a plug-in with the fault it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.checks import check, kind_of
from simulator.errors import PluginError

#: the faulty plug-in -> its kind, a check that must fail, and what its message holds
FAULTS = [
    ("Undocumented", "defenses", "documented", "expected a docstring"),
    ("Positional", "defenses", "options-are-the-schema", "expected option 'share' to be keyword-only"),
    ("NoDefault", "defenses", "options-are-the-schema", "expected option 'share' to have a default"),
    ("Untyped", "defenses", "options-are-the-schema", "expected option 'share' to be annotated"),
    ("Renamed", "defenses", "options-are-kept", "expected option 'share' to be kept as share"),
    ("RandomOptions", "defenses", "builds-without-traces", "random's generator"),
    ("SkippingNothing", "defenses", "skips-are-known", "got documentd"),
    ("ShortMask", "defenses", "result-fits-its-surface", "got torch.bool of shape (119,)"),
    ("FloatMask", "defenses", "result-fits-its-surface", "got torch.float32"),
    ("Unseeded", "defenses", "same-seed-same-result", "expected the same result"),
    ("Unseeded", "defenses", "inputs-are-left-alone", "torch's generator"),
    ("ChangesWindow", "defenses", "inputs-are-left-alone", "expected window_images to be left as it was"),
    ("TensorEvidence", "defenses", "result-fits-its-surface", "expected evidence to be finite JSON values"),
    ("Raises", "defenses", "result-fits-its-surface", "RuntimeError: no luck today"),
    ("defend_faults:NanWeights", "defenses", "result-fits-its-surface", "expected weight '0.weight' to be finite"),
    ("defend_faults:OtherNetwork", "defenses", "result-fits-its-surface", "expected the model's own architecture"),
    ("defend_faults:NanScore", "defenses", "result-fits-its-surface", "expected score to be finite, got nan"),
    (
        "defend_faults:ShortScreen",
        "defenses",
        "result-fits-its-surface",
        "expected flagged to be a bool tensor of shape (120,), got torch.bool of shape (1,)",
    ),
    ("NeedsHistory", "defenses", "every-model-and-the-first-period-will-do", "IndexError"),
    ("NeedsWindow", "defenses", "every-model-and-the-first-period-will-do", "AttributeError"),
    ("SaysItRemembers", "defenses", "what-it-remembers-is-given-and-handed-back", "got None; return one, or set"),
    ("NamesNoThreshold", "defenses", "class-says-what-it-needs", "to name an option, got 'limit'; there are none"),
    ("ComparesScores", "defenses", "class-says-what-it-needs", "what its surface returns, got 'score' of a filter"),
    ("SaysItDecides", "defenses", "the-threshold-it-names-decides", "expected 31 flagged with limit at"),
    ("SaysAnotherWay", "defenses", "the-threshold-it-names-decides", "verdict to follow from 'score' and the option"),
    ("DoesNotSayItRemembers", "defenses", "result-fits-its-surface", "got some; set remembers = True in the class"),
    ("RemembersTooMuch", "defenses", "result-fits-its-surface", "expected state of at most 1000000 bytes, got 1000004"),
    ("RemembersNan", "defenses", "result-fits-its-surface", "expected state tensor 'mean' to be finite, got NaN"),
    (
        "LooksBackAWord",
        "defenses",
        "class-says-what-it-needs",
        "expected versions_back to be a whole number from 0 to 100, got 'all'",
    ),
    ("RemembersAnInteger", "defenses", "class-says-what-it-needs", "expected remembers to be True or False, got 1"),
    (
        "ClearsSometimes",
        "defenses",
        "class-says-what-it-needs",
        "expected after_rollback to be 'keep' or 'clear', got 'sometimes'",
    ),
    (
        "RemembersAsAScreen",
        "defenses",
        "class-says-what-it-needs",
        "expected remembers to be False of a screen, got True",
    ),
    ("AsksWithoutReason", "defenses", "result-fits-its-surface", "expected the reason of a request to be text, got an"),
    ("PurgesOtherRows", "defenses", "result-fits-its-surface", "rows of a purge to be a bool tensor of shape (120,)"),
    ("AsksWhileServing", "defenses", "result-fits-its-surface", "expected no requests of a screen, got some"),
    ("AnswersNoClass", "defenses", "result-fits-its-surface", "expected answers from -1 to below "),
    ("TrainsToNan", "defenses", "result-fits-its-surface", "to be finite, got NaN or infinity"),
    ("TwentyClasses", "defenses", "result-fits-its-surface", "IndexError: index 20 is out of bounds"),
    ("NeedsTrusted", "defenses", "need-of-trusted-images-is-declared", "IndexError"),
    ("Shuffling", "attacks", "rows-are-replaced-in-place", "expected clean rows to stay as they were"),
    ("TooLoud", "attacks", "stamp-follows-opacity", "expected no pixel to change by more than 0.1"),
    ("TooLoud", "attacks", "rate-is-kept", "expected about 6 of 60 rows poisoned at rate 0.1, got 60"),
    ("Remembering", "attacks", "replay-is-arrival", "expected the same batch again at rate"),
    ("Modest", "attacks", "labels-follow-roles", "expected covers to keep their labels"),
    (
        "Modest",
        "attacks",
        "rate-beyond-the-rows-is-refused",
        "expected ValueError or 60 rows poisoned at rate 1, got 12",
    ),
    (
        "OutsideItsSources",
        "attacks",
        "labels-follow-roles",
        "expected poison of source classes, got [1, 2, 3, 4, 5, 6]",
    ),
    ("OutsideItsSources", "attacks", "target-is-checked", "got [9]; choose others"),
    ("AlwaysOn", "drifts", "starts-at-nothing", "expected magnitude 0 in period 0"),
    ("AlwaysOn", "drifts", "magnitude-0-is-no-change", "expected `apply` at magnitude 0 to be the identity"),
    ("OneForAll", "drifts", "images-stay-images", "got torch.float32 (1, "),
    ("Doubles", "drifts", "images-stay-images", "got torch.float64 (20, "),
    ("Elsewhere", "drifts", "images-stay-images", "(20, 1, 8, 8) on cpu, got torch.float32 (20, 1, 8, 8) on meta"),
    ("TooOften", "campaigns", "rate-is-a-share", "expected rates in [0, 1]"),
    ("TooOften", "campaigns", "memory-is-in-the-view", "expected a fresh one to give 4.0 in period 3, got 1.0"),
    ("Exceeding", "campaigns", "most-is-kept", "expected no rate above most = 0.1, got 0.2"),
    ("Secretive", "campaigns", "adaptive-is-declared", "expected rates that depend on the period alone"),
    ("AlarmingMonitor", "monitors", "alarm-follows-from-score", "expected alarm to be False for 0.1 against 0.5"),
    ("AlarmingMonitor", "monitors", "identical-data-raise-no-alarm", "expected no alarm on identical data"),
    ("Moody", "policies", "decisions-have-reasons", "expected a reason"),
    ("Moody", "policies", "same-view-same-decision", "expected one decision for one view"),
    ("Promoter", "gates", "verdict-fits-what-serves", "expected what serves to fit 'promoted', got ordinal 99"),
    ("Promoter", "gates", "version-0-always-serves", "expected the champion, of ordinal 0, to serve, got 99"),
    ("NegativeRate", "schedules", "rates-are-rates", "expected finite rates of at least 0"),
    ("Stateful", "schedules", "schedule-has-no-memory", "expected the same rates asked backwards"),
    ("Lazy", "optimizers", "optimizer-learns", "expected weights nearer the minimum"),
    ("Lazy", "optimizers", "optimizer-is-fresh", "expected a new optimizer"),
    ("OtherReadings", "probes", "gives-what-it-says", "expected readings ['clean/first'], got ['clean/second']"),
    ("TrainingProbe", "probes", "view-is-left-alone", "expected model to be left as it was"),
    ("Speechless", "sources", "loads-or-says-what-to-do", "FileNotFoundError: data.bin"),
    ("flat_network", "networks", "takes-images-gives-logits", "flat_network"),
    ("constant_network", "networks", "same-seed-same-weights", "expected other weights from another seed"),
]


@pytest.fixture(autouse=True)
def faulty_plugins_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(__file__).parent
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.syspath_prepend(str(here.parent / "production"))  # defenses that go wrong at work


def _use(name: str, kind: str) -> str:
    return name if ":" in name else f"{'faulty_defenses' if kind == 'defenses' else 'faulty_plugins'}:{name}"


@pytest.mark.parametrize(("name", "kind", "failing", "part"), FAULTS, ids=[f"{row[0]}-{row[2]}" for row in FAULTS])
def test_fault_is_found(name: str, kind: str, failing: str, part: str) -> None:
    results = {result.name: result for result in check(kind, _use(name, kind))}
    assert not results[failing].passed
    assert part in results[failing].message


@pytest.mark.parametrize("name", ["Good", "WithExample", "Counting", "LooksBack"])
def test_sound_plugin_passes(name: str) -> None:
    results = check("defenses", f"faulty_defenses:{name}")
    assert [result for result in results if not result.passed] == []


def test_skipped_check_passes_and_gives_its_reason() -> None:
    results = {result.name: result for result in check("defenses", "faulty_defenses:Skipping")}
    assert results["documented"].passed
    assert results["documented"].message == "skipped: the test says so"
    assert not results["documented"].tried


@pytest.mark.parametrize(
    ("kind", "name", "not_tried"),
    [
        ("defenses", "clp", {"the-threshold-it-names-decides", "what-it-remembers-is-given-and-handed-back"}),
        ("attacks", "none", {"rate-beyond-the-rows-is-refused", "preparing-leaves-all-alone", "training-is-sound"}),
        ("attacks", "patch", {"preparing-leaves-all-alone", "training-is-sound"}),
        ("networks", "standard-cnn", {"options-are-kept", "builds-without-traces"}),
    ],
)
def test_a_check_that_has_nothing_to_try_says_that_it_does_not_apply(kind: str, name: str, not_tried: set[str]) -> None:
    results = check(kind, name)
    assert {result.name for result in results if not result.tried} == not_tried
    assert all(result.passed for result in results)
    assert all(result.message.startswith("does not apply: ") for result in results if not result.tried)


@pytest.mark.parametrize(("name", "kind"), sorted({(row[0], row[1]) for row in FAULTS}))
def test_kind_is_inferred(name: str, kind: str) -> None:
    assert kind_of(_use(name, kind)) == kind


def test_a_function_is_a_network_whatever_it_is_annotated_with(user_file: Callable[[str, str], None]) -> None:
    user_file("user_net.py", "def net(channels, size, classes): ...\ndef number() -> int: ...\n")
    assert kind_of("user_net:net") == "networks"
    with pytest.raises(PluginError, match="or to be a function that returns a network, got neither"):
        kind_of("user_net:number")


def test_short_name_of_one_kind_is_enough_and_of_several_is_not() -> None:
    assert kind_of("rotation") == "drifts"
    with pytest.raises(
        PluginError, match=r"expected one plug-in to be named 'scripted', got 5; give one of .*policy:Scripted"
    ):
        kind_of("scripted")


@pytest.mark.parametrize(
    ("use", "part"),
    [
        ("zzz", "expected a plug-in's name or module:Name, got 'zzz'"),
        ("collections:OrderedDict", "expected 'collections:OrderedDict' to extend a plug-in's base"),
        ("no_such_module:Name", "expected plug-in 'no_such_module:Name' to be importable"),
    ],
)
def test_what_is_no_plugin_is_refused(use: str, part: str) -> None:
    with pytest.raises(PluginError, match=part):
        kind_of(use)
