"""Hostile defenses are contained: what they leave behind is gone, and what stands beside them is undisturbed."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from simulator.batch import Batch
from simulator.errors import PluginError, WorkerError
from simulator.production.defending.answers import SLOW, imported_of
from simulator.production.defending.driver import Defenders, FilterRun
from simulator.production.defending.runner import ATTEMPTS, InProcesses, Limits
from simulator.production.training.networks import build_network
from simulator.records import Outcome
from simulator.scenario.model import Use
from simulator.system.landlock import version
from simulator.tensors import ModelVersion

ARCHITECTURE = {"network": {"use": "standard-cnn"}, "channels": 1, "size": [12, 12], "classes": 4}
ROWS = Batch(
    torch.rand(20, 1, 12, 12, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 4, torch.arange(20)
)
MODEL = ModelVersion(build_network(Use(use="standard-cnn"), channels=1, size=(12, 12), classes=4, seed=0))

#: name, status, reason: what each comes to in a process of its own; an honest one stands after each
HOSTILE = [
    ("Forks", "passed", "kept all 20 rows"),
    ("ForksAndWaits", "passed", "kept all 20 rows"),
    ("Daemonises", "passed", "kept all 20 rows"),
    ("Freezes", "passed", "kept all 20 rows"),
    ("LeavesThreads", "passed", "kept all 20 rows"),
    ("Leaks", "passed", "kept all 20 rows"),
    ("Moves", "passed", "kept all 20 rows"),
    ("Prints", "passed", "kept all 20 rows"),
    ("Crashes", "failed", r"its process was ended by signal 11 \(SIGSEGV\), 3 times"),
    ("KillsItself", "failed", r"its process was ended by signal 9 \(SIGKILL\), 3 times"),
    ("ClosesEverything", "failed", "its process ended without an answer"),
    ("WritesEverywhere", "failed", "its process sent more than it may|an answer that cannot be read"),
    ("HugeEvidence", "failed", "expected evidence of at most 50000 characters, got 5000012"),
    ("HugeNumber", "failed", "expected evidence to be finite JSON values, .*a whole number of 31 digits"),
    ("LoneSurrogate", "failed", "expected evidence to be finite JSON values, .*surrogates not allowed"),
    ("RaisesSurrogate", "failed", r"^raised RuntimeError: half a pair \[31m \(hostile_defenses\.py, line \d+\)$"),
]
#: those that leave most behind; the others stand in the slow suite, for each call has a process of its own to start
FAST = ("ForksAndWaits", "Leaks", "Moves", "ClosesEverything", "LoneSurrogate", "Freezes")
#: those that one process can contain
CATCHABLE = [("RaisesSurrogate", "failed"), ("HugeEvidence", "failed"), ("LoneSurrogate", "failed")] + [
    (name, "passed") for name in ("Forks", "Leaks", "Moves")
]


@pytest.fixture(autouse=True)
def _hostile_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


def defenders(
    *names: str | Use, in_process: bool = False, limits: Limits | None = None, passes: int | None = None
) -> Any:
    uses = tuple(name if isinstance(name, Use) else _named(name) for name in names)
    return closing(
        Defenders(
            uses,
            architecture=ARCHITECTURE,
            device=torch.device("cpu"),
            limits=limits or Limits(60.0),
            in_process=in_process,
            threads=1,
            seed=0,
            passes=passes,
        )
    )


def _named(name: str) -> Use:
    return Use(use=name if ":" in name or "-" in name else f"hostile_defenses:{name}")


def filtered(made: Defenders) -> FilterRun:
    return made.filter(MODEL, ROWS, ROWS, period=1, subject="champion")


def honest(*, in_process: bool) -> Outcome:
    """What the honest filter says where nothing stands beside it."""
    with defenders("Honest", in_process=in_process) as made:
        (outcome,) = filtered(made).outcomes
    return outcome


def left_over() -> list[psutil.Process]:
    """The children of this process and the programs that the hostile ones start, wherever they have gone."""
    programs = [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "43219"]]
    return psutil.Process().children(recursive=True) + programs


@pytest.fixture
def nothing_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {process.pid for process in left_over()}
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert [process for process in left_over() if process.pid not in before] == []
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("nothing_left")
def test_those_that_leave_most_behind_disturb_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    hostile = [one for one in HOSTILE if one[0] in FAST]
    here = os.getcwd(), dict(os.environ), torch.get_default_dtype()
    names = [name for name, _, _ in hostile]
    with defenders("Honest", *names, "Honest", "Patches", "NegativeVariance") as made:
        first, *outcomes, last = filtered(made).outcomes
        repaired, judged = made.repair(MODEL, ROWS, period=1)
    for outcome, expected in zip(outcomes, hostile, strict=True):
        check(outcome, *expected)
    assert first.status == "changed"
    assert last == first.model_copy(update={"name": last.name})
    assert (os.getcwd(), dict(os.environ), torch.get_default_dtype()) == here
    assert repaired is MODEL
    check_repairs(judged)
    assert capfd.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_each_is_contained_and_an_honest_one_after_it_is_undisturbed(capfd: pytest.CaptureFixture[str]) -> None:
    names = [name for name, _, _ in HOSTILE]
    here = os.getcwd(), dict(os.environ), torch.get_default_dtype()
    with defenders(*(one for name in names for one in (name, "Honest"))) as made:
        outcomes = filtered(made).outcomes
        assert made.notes["hostile_defenses:Crashes"]["asked_again"] == ATTEMPTS - 1
    for outcome, expected in zip(outcomes[::2], HOSTILE, strict=True):
        check(outcome, *expected)
    alone = honest(in_process=False)
    assert [one.model_copy(update={"name": alone.name}) for one in outcomes[1::2]] == [alone] * len(names)
    assert (os.getcwd(), dict(os.environ), torch.get_default_dtype()) == here
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err) < 150_000


def check(outcome: Outcome, name: str, status: str, reason: str) -> None:
    assert (outcome.name, outcome.status) == (f"hostile_defenses:{name}", status), outcome.reason
    assert re.search(reason, outcome.reason), outcome.reason
    assert outcome.reason.isprintable()
    outcome.model_dump_json().encode()


def check_repairs(outcomes: tuple[Outcome, ...]) -> None:
    """Weights are judged by who did not run the defense."""
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    assert outcomes[0].reason == "expected weight 'classifier.bias' to be finite, got NaN or infinity"
    assert outcomes[1].reason.startswith("expected the repaired model to answer with finite numbers")


def test_what_one_process_can_contain_is_contained_there() -> None:
    here = os.getcwd(), dict(os.environ), torch.get_default_dtype()
    with defenders(*(one for name, _ in CATCHABLE for one in (name, "Honest")), in_process=True) as made:
        outcomes = filtered(made).outcomes
    assert [(one.name.partition(":")[2], one.status) for one in outcomes[::2]] == CATCHABLE
    expected = honest(in_process=True)
    assert [one.model_copy(update={"name": expected.name}) for one in outcomes[1::2]] == [expected] * len(CATCHABLE)
    assert (os.getcwd(), dict(os.environ), torch.get_default_dtype()) == here


def test_weights_are_judged_by_who_did_not_run_the_defense() -> None:
    with defenders("Patches", "NegativeVariance", in_process=True) as made:
        repaired, outcomes = made.repair(MODEL, ROWS, period=1)
    assert repaired is MODEL
    check_repairs(outcomes)


@pytest.mark.usefixtures("nothing_left")
def test_a_timeout_is_said_to_be_one_and_takes_what_was_started_along() -> None:
    with defenders("Hangs", limits=Limits(1.0)) as made:
        (outcome,) = filtered(made).outcomes
    assert (outcome.status, outcome.reason) == ("timeout", "did not finish within 1 seconds; its process was ended")


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_memory_is_limited() -> None:
    with defenders("Hoards", limits=Limits(60.0, memory=200)) as made:
        (outcome,) = filtered(made).outcomes
    assert (outcome.status, outcome.reason) == ("timeout", "raised MemoryError")


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_memory_of_all_that_a_defense_has_started_is_limited() -> None:
    with defenders("HoardsTogether", limits=Limits(60.0, memory=200)) as made:
        (outcome,) = filtered(made).outcomes
    assert (outcome.status, outcome.reason) == ("timeout", "its process used more than 200 MB of memory and was ended")


@pytest.mark.usefixtures("nothing_left")
def test_memory_is_limited_at_once() -> None:
    with defenders("HoardsForAMoment", limits=Limits(60.0, memory=500)) as made:
        (outcome,) = filtered(made).outcomes
    assert outcome.status == "timeout"
    assert "you tried to allocate 1073741824 bytes" in outcome.reason


NO_PROCESS = r"^defense '.*': expected a process for it to start, got .*; make room for it .* resume the run$"


def test_no_process_for_a_defense_is_no_verdict_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with defenders("activation-clustering") as made, pytest.raises(WorkerError, match=NO_PROCESS):
        filtered(made)
    with closing(InProcesses((), Limits(60.0), threads=1)) as asked, pytest.raises(WorkerError, match=NO_PROCESS):
        asked.facts("hostile_defenses:Honest", {})


@pytest.mark.usefixtures("nothing_left")
def test_no_room_for_one_call_is_no_verdict_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with defenders("activation-clustering", limits=Limits(60.0, confined=False)) as made:
        before = filtered(made).outcomes
        (folder,) = Path(tempfile.gettempdir()).glob("ebbdoor-defense-*")
        folder.rmdir()
        assert filtered(made).outcomes == before  # it is made anew
        folder.rmdir()
        folder.write_text("")
        monkeypatch.setattr(tempfile, "tempdir", str(folder.parent / "nowhere"))
        with pytest.raises(WorkerError, match=NO_PROCESS):
            filtered(made)
        monkeypatch.setattr(tempfile, "tempdir", str(folder.parent))
        folder.unlink()
        assert filtered(made).outcomes == before


@pytest.mark.usefixtures("nothing_left")
def test_a_killed_process_is_asked_again_and_the_record_is_the_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIES_AT_FIRST", str(tmp_path / "once"))
    with defenders("DiesAtFirst", limits=Limits(60.0, confined=False)) as made:
        (disturbed,) = filtered(made).outcomes
        assert made.notes["hostile_defenses:DiesAtFirst"]["asked_again"] == 1
        assert filtered(made).outcomes == (disturbed,)
    assert disturbed.status == "passed"


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_a_killed_host_is_replaced_and_the_record_is_the_undisturbed_one() -> None:
    before = _children()  # of tests that were here earlier
    with defenders("activation-clustering") as made:
        undisturbed = filtered(made).outcomes
        (host,) = _children() - before
        threading.Thread(target=_kill_when_busy, args=(host,)).start()
        assert filtered(made).outcomes == undisturbed
        while host.is_running() and host.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert filtered(made).outcomes == undisturbed


def _children() -> set[psutil.Process]:
    return {one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE}


def _kill_when_busy(host: psutil.Process) -> None:
    while not host.children():
        time.sleep(0.001)
    host.kill()


@pytest.mark.skipif(version() < 6, reason="this kernel offers no Landlock that confines signals")
def test_a_confined_defense_reaches_nothing_beyond_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug" / ".env").write_text("PASSWORD=s3cret")
    (tmp_path / "plug" / "ebbdoor-runs").mkdir()
    (tmp_path / "plug" / "ebbdoor-runs" / "mlflow.db").write_text("s3cret")
    (tmp_path / "plug" / "mine.yaml").write_text("name: mine\nattack: {use: patch}\n")
    (tmp_path / "plug" / "options.yaml").write_text("strength: 3\n")
    (tmp_path / "plug" / "a-run").mkdir()
    for name in ("run.json", "periods.jsonl"):
        (tmp_path / "plug" / "a-run" / name).write_text("{}")
    (tmp_path / "plug" / "data.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "plug")
    monkeypatch.syspath_prepend(tmp_path / "plug")
    looked = [str(tmp_path / "secret"), ".env", "ebbdoor-runs/mlflow.db", f"/proc/{os.getpid()}/environ", "data.txt"]
    looked[3:3] = ["mine.yaml", "a-run/periods.jsonl"]
    looked.append("options.yaml")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("LOOK_AT", os.pathsep.join(looked))
        monkeypatch.setenv("LOOK_AT_PORT", str(server.getsockname()[1]))
        monkeypatch.setenv("LOOK_AT_PROCESS", str(os.getpid()))
        with defenders("LooksAround", "UsesHelpers") as made:
            outcome, other = filtered(made).outcomes
            assert "no files beyond the installation" in made.notes["hostile_defenses:LooksAround"]["confined"]
        assert outcome.evidence["reached"] == ["data.txt", "options.yaml"]
        # it may use files and processes of its own
        assert (other.status, other.evidence["found"], other.evidence["own"]) == ("passed", [3], True), other.reason
        with defenders("LooksAround", in_process=True) as made:
            (outcome,) = filtered(made).outcomes
        assert outcome.evidence["reached"] == [*looked, "network", "process"]


@pytest.mark.parametrize("in_process", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_passes_are_limited_alike_on_every_machine(in_process: bool) -> None:
    use = Use.model_validate({"use": "neural-cleanse", "rule": "own-classes"})
    with defenders(use, in_process=in_process, passes=3 * 8 * 4 * 4 * 2) as made:  # two steps
        (outcome,) = made.inspect(MODEL, ROWS, period=1, subject="candidate")
    assert (outcome.status, outcome.reason) == ("timeout", "used more passes than defense_passes allows (768)")
    assert (outcome.cost["samples"], outcome.cost["forward_passes"]) == (3 * 8 * 4 * 4, 3)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder := tmp_path_factory.mktemp("strangers"))
        patch.syspath_prepend(Path(__file__).parent)
        for name in SECRETS:
            patch.setenv(name, "s3cret")
        yield folder


@pytest.fixture(scope="module")
def asked(strangers: Path) -> Iterator[InProcesses]:
    with closing(InProcesses((), Limits(60.0), threads=1)) as processes:
        yield processes


SECRETS = ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "PREFECT_API_KEY")
MODULES: list[tuple[str, str]] = [
    ("import os; os._exit(0)", "its process ended without an answer"),
    ("import sys; sys.exit(0)", "to return, got an attempt to end the process, SystemExit: 0"),
    ("import os, signal; os.kill(os.getpid(), 9)", r"was ended by signal 9 \(SIGKILL\), 3 times"),
    ("1 / 0", "to be importable, got ZeroDivisionError: division by zero"),
    ("raise RuntimeError('\\ud800\\x1b[2J')", "to be importable, got RuntimeError:"),
]


@pytest.mark.parametrize(
    ("code", "words"), MODULES, ids=["leaves", "exits", "kills itself", "raises", "raises odd text"]
)
def test_a_module_is_not_imported_here_and_its_faults_are_sentences(
    code: str, words: str, strangers: Path, asked: InProcesses
) -> None:
    (strangers / "strangers.py").write_text(code)
    with pytest.raises(PluginError, match=words) as said:
        asked.facts("strangers:Mine", {})
    assert all(line.isprintable() for line in str(said.value).splitlines())


def test_secrets_are_not_in_a_constructors_environment(strangers: Path, asked: InProcesses) -> None:
    text = "import os\nfrom hostile_defenses import Honest\nclass Spy(Honest):\n    def __init__(self):\n"
    (strangers / "spies.py").write_text(text + "        raise ValueError(sorted(os.environ))\n")
    with pytest.raises(PluginError) as said:
        asked.facts("spies:Spy", {})
    assert "PATH" in str(said.value)
    assert not re.search("PASSWORD|SECRET|API_KEY", str(said.value))


def test_what_a_call_says_that_it_has_imported_is_believed_of_known_modules_only() -> None:
    assert imported_of('{"imported": ["os", "torch._dynamo"]}', SLOW) == list(SLOW)
    for text in ("", "[]", "{}", '{"imported": 3}', '{"imported": null}', '{"imported": ["os"]}'):
        assert imported_of(text, SLOW) == []
