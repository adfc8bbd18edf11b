"""Every in-process kind of plug-in under the guard: refused in one sentence, or put back with equal records."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import EbbdoorError, PluginError
from simulator.guard.settings import read_settings
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.scenario.model import Scenario
from tests.guard import slips
from tests.guard.slips import CONTAINED, IN_PLACE, REFUSED, THREADS, TO_MODEL

MODULE = "tests.guard.hostile"

#: kind -> (noun in sentences, class, key of the scenario)
KINDS = {
    "monitors": ("monitor", "Watching", "monitor"),
    "policies": ("policy", "Deciding", "policy"),
    "gates": ("gate", "Judging", "gate"),
    "drifts": ("drift", "Fading", "drift"),
    "attacks": ("attack", "Stamping", "attack"),
    "campaigns": ("campaign", "Poisoning", "campaign"),
    "probes": ("probe", "Measuring", "probes"),
    "schedules": ("schedule", "Stepping", "schedule"),
    "optimizers": ("optimizer", "Descending", "optimizer"),
    "sources": ("source", "Loading", "source"),
    "networks": ("network", "linear", "network"),
}

#: kind -> wrong answers, all refused
ANSWERS: dict[str, tuple[str, ...]] = {
    "monitors": ("nan", "type", "nothing", "tensor", "huge", "huge number", "surrogate"),
    "policies": ("type", "nothing", "unchecked", "huge", "surrogate"),
    "drifts": (
        *("nan", "infinite", "type", "shape", "array", "nothing", "nan magnitude", "huge magnitude", "text magnitude"),
        *("nan prior", "sum prior", "shape prior"),
    ),
    "attacks": (
        *("nan", "range", "type", "fewer", "label", "label type", "role", "clean rows", "relabelled", "tuple"),
        *("nan stamp", "range stamp", "shape stamp"),
    ),
    "campaigns": ("nan", "above", "below", "type", "nothing", "huge", "state", "huge state"),
    "probes": ("nan", "infinite", "type", "undeclared", "of another", "missing", "nothing", "list", "huge"),
    "schedules": ("nan", "infinite", "negative", "beyond", "huge", "text", "nothing"),
    "optimizers": ("type", "nothing"),
    "sources": ("type", "shape", "fewer", "label", "label type", "test", "classes", "digest", "nothing", "tuple"),
}

#: kinds that are shown tensors, and those that are shown a model
SHOWN_TENSORS = ("monitors", "drifts", "attacks", "probes", "optimizers")
SHOWN_MODELS = ("monitors", "probes")

#: a gate that raises judges nothing, which its record says: the champion stays; lines are played in threads, in which
#: Python lets nobody set a signal's handler
GATE_ERRORS = ("raises", "raises oddly", "raises silently", "memory", "handler")

#: what is done in the fast suite, beside raising
QUICK = (
    *(("monitors", "dtype"), ("gates", "exits"), ("optimizers", "exits")),
    *(("drifts", "raises silently"), ("networks", "raises silently")),
)


def scenario(kind: str = "", slip: str = "none", **options: Any) -> Scenario:
    """A small scenario of somebody else's plug-ins alone, one of which slips."""
    uses = {name: {"use": f"{MODULE}:{member}"} for name, (_, member, _) in KINDS.items()}
    if kind:
        uses[kind] = {**uses[kind], "slip": slip, **options}
    phase = {"epochs": 1, "batch": 32, "schedule": uses["schedules"], "optimizer": uses["optimizers"]}
    return Scenario.model_validate(
        {
            "periods": 1,
            "device": "cpu",
            "source": uses["sources"],
            "stream": {"base": 200, "batch": 60, "validation": 40, "relearning": 10, "test": 60},
            "drift": [uses["drifts"]],
            "attack": uses["attacks"],
            "campaign": uses["campaigns"],
            "monitor": uses["monitors"],
            "policy": uses["policies"],
            "recipe": {"network": uses["networks"], "base": phase, "update": phase},
            "trusted": {"images": 20},
            "gate": uses["gates"],
            "probes": [{"use": "attack-success"}, uses["probes"]],
            "twins": ["paced"],
        }
    )


def played(given: Scenario) -> list[dict[str, Any]]:
    """The canonical records of a whole run, but for the digest of the scenario, in which the slip's name stands."""
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(given, registry, ledger, "run")
    lines = play(head, given, registry, ledger, processes=0)
    return [entry.record.model_dump(exclude={"scenario"}) for line in lines.values() for entry in line]


def refusal(given: Scenario) -> str:
    """The sentence with which a run ends; what it committed was committed before."""
    with pytest.raises(EbbdoorError) as raised:
        played(given)
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1500
    return str(raised.value)


@pytest.fixture(scope="module")
def undisturbed() -> list[dict[str, Any]]:
    """Return the records of the run in which nobody slips."""
    return played(scenario())


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """The process is as it was after every refusal."""
    before, parent = _settings(), os.getpid()
    yield
    if os.getpid() != parent:
        os._exit(1)
    for event in THREADS:
        event.set()
    assert _settings() == before


def _settings() -> dict[str, Any]:
    """The process's settings but for those that the test runner's own time limit uses."""
    return {name: value for name, value in read_settings().items() if name not in ("a timer", "a signal's handler")}


def rows(pairs: Iterable[tuple[str, str]], quick: Callable[[str, str], bool]) -> list[Any]:
    """The rows of a table; those that are not `quick` are for the slow suite, for each plays a run."""
    return [pytest.param(*pair, marks=() if quick(*pair) else pytest.mark.slow) for pair in pairs]


def expected_noun(kind: str, sentence: str) -> None:
    noun, _, _ = KINDS[kind]
    # A network is called by stages and, in them, by other plug-ins: the innermost that is called by ebbdoor is named.
    callers = [f"{noun} '{MODULE}:", "stage '"] + [
        f"{KINDS[one][0]} '{MODULE}:" for one in SHOWN_MODELS if kind == "networks"
    ]
    assert any(caller in sentence for caller in callers), sentence


@pytest.mark.parametrize(
    ("kind", "slip"),
    rows(
        ((kind, slip) for kind in KINDS for slip in REFUSED if not (kind == "gates" and slip in GATE_ERRORS)),
        lambda kind, slip: slip == "raises" or (kind, slip) in QUICK,
    ),
)
def test_what_is_done_to_the_process_is_refused_by_name(kind: str, slip: str) -> None:
    expected_noun(kind, refusal(scenario(kind, slip)))


@pytest.mark.slow
@pytest.mark.parametrize("slip", GATE_ERRORS)
def test_a_gate_that_raises_promotes_nothing(slip: str) -> None:
    # The first version serves whatever the gate says: nothing else could.
    records = [record for record in played(scenario("gates", slip)) if record["period"] > 0]
    assert {record["judgement"]["action"] for record in records} == {"error"}


@pytest.mark.parametrize(
    ("kind", "slip"),
    rows(
        ((kind, slip) for kind in KINDS for slip in CONTAINED),
        lambda kind, slip: (
            (kind == "monitors" and slip in ("random", "forks")) or (kind, slip) == ("networks", "forks")
        ),
    ),
)
def test_what_is_put_back_leaves_the_records_of_an_undisturbed_run(
    kind: str, slip: str, undisturbed: list[dict[str, Any]]
) -> None:
    if kind == "networks":
        given = scenario(kind, slip, built=True)
        found = [{**record, "weights": "", "readings": {}, "state": {}} for record in played(given)]
        assert len(found) == len(undisturbed)
        return
    assert played(scenario(kind, slip)) == undisturbed


@pytest.mark.parametrize(
    ("kind", "slip"),
    rows(
        ((kind, slip) for kind, slips in ANSWERS.items() for slip in slips),
        lambda kind, slip: slip == ANSWERS[kind][0],
    ),
)
def test_a_wrong_answer_is_refused(kind: str, slip: str) -> None:
    sentence = refusal(scenario(kind, slip))
    noun, member, _ = KINDS[kind]
    assert f"{noun} '{MODULE}:{member}'" in sentence


@pytest.mark.parametrize(
    ("kind", "slip"),
    rows(
        ((kind, slip) for kind in SHOWN_TENSORS for slip in IN_PLACE if (kind, slip) != ("optimizers", "resized")),
        lambda kind, slip: slip == ("in place" if kind == "monitors" else "through data"),
    ),
)
def test_what_it_is_shown_stays_as_it_is(kind: str, slip: str) -> None:
    sentence = refusal(scenario(kind, slip))
    expected_noun(kind, sentence)
    assert "got a change of" in sentence


@pytest.mark.parametrize(
    ("kind", "slip"),
    rows(
        ((kind, slip) for kind in SHOWN_MODELS for slip in TO_MODEL if slip != "buffers"),
        lambda kind, slip: slip == ("hook" if kind == "monitors" else "weights"),
    ),
)
def test_a_model_that_it_is_shown_stays_as_it_is(kind: str, slip: str) -> None:
    sentence = refusal(scenario(kind, slip))
    assert "got a change of model" in sentence


def test_an_error_names_arm_period_file_and_line() -> None:
    sentence = refusal(scenario("drifts", "raises"))
    line = next(
        n for n, text in enumerate(Path(slips.__file__).read_text().splitlines(), 1) if text.strip() == "raise error"
    )
    assert f"expected drift '{MODULE}:Fading' to work in period 1 of arm 'main', got RuntimeError: no luck" in sentence
    assert f"slips.py, line {line}); correct it" in sentence


def test_a_network_that_ends_the_process_in_training_is_refused() -> None:
    told = "to return in period 0 of arm 'main', got an attempt to end the process, SystemExit: 0 \\(.*slips.py, line"
    assert re.search(told, refusal(scenario("networks", "exits")))


def test_a_process_forked_in_training_ends_and_the_run_goes_on() -> None:
    assert len(played(scenario("networks", "forks"))) == 4


def test_an_error_without_a_text_names_its_class_and_line() -> None:
    sentence = refusal(scenario("drifts", "raises silently"))
    assert re.search(r"to work in period 1 of arm 'main', got Silent \(.*slips.py, line \d+\); correct it", sentence)


def test_a_network_that_raises_in_training_names_its_line() -> None:
    sentence = refusal(scenario("networks", "raises"))
    assert "arm 'main'" in sentence
    assert "slips.py, line" in sentence


def test_an_import_that_sets_torch_is_refused(user_file: Any) -> None:
    user_file("user_late.py", "import torch\ntorch.set_default_dtype(torch.float64)\nclass Mine: pass\n")
    from simulator.scenario import catalog

    with pytest.raises(PluginError, match="to leave the process as it is, got a change of torch's default number type"):
        catalog.build("monitors", "user_late:Mine")


#: a run refuses them, and `ebbdoor check` cannot see them: an optimizer's parameters record gradients anyway
UNSEEN = {("optimizers", "resized"), ("attacks", "resized")}


@pytest.mark.parametrize("kind", KINDS)
def test_check_finds_what_a_run_refuses(kind: str) -> None:
    from simulator.checks import check

    use = f"{MODULE}:{KINDS[kind][1]}"
    extra = {"built": True} if kind == "networks" else {}
    shown = (*(IN_PLACE if kind in SHOWN_TENSORS else ()), *(TO_MODEL if kind in SHOWN_MODELS else ()))
    slips = ["dtype", "exits", "raises", "random", *ANSWERS.get(kind, ()), *shown]
    found = {slip: all(one.passed for one in check(kind, use, {"slip": slip, **extra})) for slip in ("none", *slips)}
    missed = {slip for slip, passed in found.items() if passed and (kind, slip) not in UNSEEN} - {"buffers"}
    assert missed == ({"none"} if kind != "probes" else set())  # that probe has no answer to a broken model
