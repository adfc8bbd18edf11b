"""`numerics: portable` reaches every process that computes, and what libraries use is told as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from simulator.errors import ScenarioError
from simulator.production.defending.environment import stripped
from simulator.production.training.device import has_avx2
from simulator.scenario.load import load_scenario
from simulator.system.environment import child_environment
from simulator.system.instructions import INSTRUCTION_SETS, played_with
from simulator.system.numerics import PORTABLE, began_portable, with_numerics
from simulator.system.worker import worker_environment

ASK = """
import json, torch
torch.set_num_threads(1)
from simulator.cache.key import environment
from simulator.production.training.kernels.selftest import matches_torch
from simulator.system.instructions import instruction_sets
draw = torch.Generator().manual_seed(0)
left, right = torch.randn(128, 288, generator=draw), torch.randn(288, 10, generator=draw)
found = {"sets": instruction_sets(), "key": environment(), "kernels": matches_torch(8)}
print(json.dumps(found | {"product": (left @ right).numpy().tobytes().hex()}))
"""

portable_here = pytest.mark.skipif(not has_avx2(), reason="needs an x86-64 processor with AVX2")


def asked(environment: Mapping[str, str]) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", ASK], env=dict(environment), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@portable_here
def test_a_portable_process_uses_other_instructions_and_another_cache_key_than_a_native_one() -> None:
    clean = {name: value for name, value in os.environ.items() if name not in PORTABLE}
    native, portable = asked(worker_environment(clean, 1)), asked(worker_environment(clean, 1, "portable"))
    sets = portable["sets"]
    assert sets["torch"].endswith(": AVX2")
    assert sets["onednn"].endswith(": AVX2")
    assert sets["blas"].endswith(": COMPATIBLE")
    assert (sets["openblas"], sets["kernels"], sets["threads"]) == ("of NumPy and SciPy: Haswell", "x86-64-v3", "1")
    assert "the processor's best" not in sets.values()
    assert native["sets"]["onednn"].endswith(": the processor's best")
    assert native["sets"]["processor"] == sets["processor"]
    assert native["key"] != portable["key"]
    assert portable["kernels"]  # our kernels round as torch's for AVX2 do: no slower layers instead
    if "mkl" in sets["blas"]:
        assert native["product"] != portable["product"]  # MKL sums in another order: the variable had its effect


@portable_here
def test_a_variable_that_came_too_late_or_is_overruled_is_not_taken_for_portable() -> None:
    code = "import os; from simulator.system.numerics import PORTABLE, began_portable; os.environ |= PORTABLE"
    told = {}
    for name, environment in {
        "late": child_environment(),
        "overruled": {**child_environment(numerics="portable"), "DNNL_MAX_CPU_ISA": "AVX512_CORE"},
        "begun": child_environment({**os.environ, "DNNL_MAX_CPU_ISA": "AVX512_CORE"}, numerics="portable"),
    }.items():
        command = [sys.executable, "-c", f"{code}; print(began_portable())"]
        told[name] = subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip()
    assert told == {"late": "False", "overruled": "False", "begun": "True"}
    assert not began_portable()


def test_native_leaves_the_environment_as_it_is() -> None:
    given = {"ATEN_CPU_CAPABILITY": "default", "A": "b"}
    assert with_numerics(given, "native") == with_numerics(given, None) == given
    assert with_numerics(given, "portable") == {"A": "b", **PORTABLE}


def test_a_process_for_defenses_computes_as_its_parent() -> None:
    assert PORTABLE.items() <= stripped({**os.environ, **PORTABLE, "MLFLOW_TRACKING_URI": "x"}, 1).items()


def test_this_process_refuses_to_play_a_portable_scenario() -> None:
    from simulator.loop.run import open_run, play
    from simulator.production.registry.memory import MemoryLedger, MemoryRegistry

    scenario = load_scenario("digits", ["numerics=portable", "device=cpu"])
    registry, ledger = MemoryRegistry(), MemoryLedger()
    head = open_run(scenario, registry, ledger, "here")
    with pytest.raises(ScenarioError, match=r"got one that loaded torch without it; let worker processes play it"):
        play(head, scenario, registry, ledger, processes=0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("threads=2", "expected threads to be 1 with numerics: portable, got 2"),
        ("device=cuda", "expected device to be cpu with numerics: portable, got 'cuda'"),
        ("numerics=fast", "expected numerics to be 'native' or 'portable', got 'fast'"),
        ("arms={a: {numerics: portable}}", "expected an override of what arms may differ in, got 'numerics'"),
    ],
)
def test_what_portable_numerics_cannot_be_combined_with(given: str, words: str) -> None:
    from simulator.scenario.overrides import resolved_arms

    with pytest.raises(ScenarioError, match=words):
        resolved_arms(load_scenario("digits", ["numerics=portable", given]))


def test_a_scenario_that_says_nothing_keeps_its_digest() -> None:
    plain = load_scenario("digits")
    assert plain.numerics == "native"
    assert load_scenario("digits", ["numerics=native"]).digest() == plain.digest()
    assert load_scenario("digits", ["numerics=portable"]).digest() != plain.digest()


def test_instruction_sets_are_listed_once_each_in_order() -> None:
    one, other = {"torch": "AVX2"}, {"torch": "AVX512"}
    found = played_with([{}, {INSTRUCTION_SETS: one}, {INSTRUCTION_SETS: other}, {INSTRUCTION_SETS: one}])
    assert found == [one, other]


@portable_here
def test_a_study_plays_each_timeline_in_a_process_of_its_own_numerics(tmp_path) -> None:
    from simulator.study.executors.processes import Processes, play_alone
    from simulator.study.expand import timelines_of
    from simulator.study.load import study_of
    from simulator.study.play import read_timeline

    study = study_of(
        {
            "name": "both",
            "scenario": {
                "periods": 1,
                "device": "cpu",
                "source": {"use": "digits"},
                "stream": {"base": 300, "batch": 100, "validation": 100, "relearning": 20, "test": 100},
                "recipe": {"base": {"epochs": 1}, "update": {"epochs": 1}},
                "trusted": {"images": 50},
                "probes": [],
            },
            "grid": {"numerics": ["native", "portable"]},
            "seeds": [0],
        }
    )
    timelines = timelines_of(study)
    assert [end.error for end in Processes(1).play(timelines, tmp_path, None)] == [None, None]
    used = {}
    for timeline in timelines:
        played = read_timeline(tmp_path, timeline)
        assert played is not None
        [used[timeline.scenario.numerics]] = played_with(one.metadata for one in played.entries["main"])
    assert used["portable"]["kernels"] == "x86-64-v3" != used["native"]["kernels"]
    portable = next(one for one in timelines if one.scenario.numerics == "portable")
    play_alone(portable, tmp_path / "alone", None)
    again, before = read_timeline(tmp_path / "alone", portable), read_timeline(tmp_path, portable)
    assert again is not None
    assert before is not None
    assert [one.sha256 for one in again.entries["main"]] == [one.sha256 for one in before.entries["main"]]


def test_a_cohort_refuses_portable_timelines_before_it_plays_any(tmp_path) -> None:
    from simulator.study.executors.cohort import Cohort
    from simulator.study.expand import timelines_of
    from simulator.study.load import study_of

    grid = {"numerics": ["native", "portable"]}
    timelines = timelines_of(study_of({"name": "both", "scenario": "digits", "grid": grid, "seeds": [0]}))
    with pytest.raises(ScenarioError, match=r"expected numerics to be native with the executor cohort.*got portable"):
        next(Cohort().play(timelines, tmp_path, None))
    assert list(tmp_path.iterdir()) == []
