"""What `ebbdoor bench` says it measured, on a timeline cut down to seconds."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from flows.bench import pairs
from flows.bench.servers import cpu_seconds
from flows.bench.table import print_measured, print_pairs
from flows.bench.way import Way, bench_scenario
from flows.cli import main
from flows.servers.processes import launch, stop
from simulator.bench.standard import STANDARD
from simulator.scenario.model import Scenario
from simulator.system.numerics import PORTABLE

SMALL = [
    "periods=1",
    "source.use=digits",
    "stream={base: 150, batch: 130, validation: 40, relearning: 10, test: 60}",
    "trusted={images: 20}",
]


def benched(capsys: pytest.CaptureFixture[str], *overrides: str) -> tuple[dict[str, Any], str]:
    given = [part for text in (*SMALL, *overrides) for part in ("--set", text)]
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--no-prefect", "--format", "json", *given])
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    return json.loads(captured.out), captured.err


def test_with_overrides_the_bare_loop_is_left_out_and_idle_stages_are_named(
    workspace: object, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, told = benched(capsys)
    assert "bare_loop" not in measured
    assert measured["overrides"] == SMALL
    assert "the bare loop is left out" in told
    assert measured["idle"] == {
        "monitor": "not measured: the timeline has no monitor",
        "defend": "not measured: the timeline has no defenses",
    }
    assert sum(measured["seconds"].values()) == pytest.approx(measured["wall_seconds"])
    print_measured(measured)
    printed = capsys.readouterr().out
    assert "not measured: the timeline has no defenses" in printed
    assert "bare" not in printed
    assert [line.split()[0] for line in printed.splitlines()[-2:]] == ["0", "1"]


def test_a_stage_that_is_there_is_measured(workspace: object, capsys: pytest.CaptureFixture[str]) -> None:
    measured, _ = benched(capsys, "monitor={use: mmd, rows: 20, permutations: 19}", "defenses=[{use: scripted}]")
    assert measured["idle"] == {}
    assert measured["seconds"]["monitor"] > 0
    assert measured["seconds"]["defend"] > 0


def test_with_stores_in_memory_nothing_is_written(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [part for text in SMALL for part in ("--set", text)]
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--no-prefect", "--stores", "memory", "--format", "json", *given])
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    measured = json.loads(captured.out)
    assert measured["stores"] == "memory"
    assert len(measured["clean_accuracy"]) == 2
    assert measured["cpu_seconds"] > 0
    assert not workspace.exists()


def test_the_governed_timeline_adds_a_monitor_the_default_probes_and_a_twin(tmp_path: Path) -> None:
    written, alone = bench_scenario(tmp_path, Way(governed=True), 5)
    assert alone.model_dump() == Scenario.model_validate(json.loads(written.read_text())).model_dump()
    assert alone.seed == 5
    assert alone.monitor.use == "evidently"
    assert alone.probes == Scenario().probes
    assert alone.twins == ()
    assert alone.stream.base == STANDARD["stream"]["base"]
    _, cut = bench_scenario(tmp_path, Way(governed=True, twin=True, overrides=("stream.base=300",)), 5)
    assert (cut.twins, cut.stream.base) == (("paced",), 300)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--governed", "--no-prefect"], "expected the governed timeline to be a flow, got --no-prefect"),
        (["--governed", "--stores", "memory"], "expected the governed timeline's stores to be servers, got --stores"),
        (["--governed", "--portable"], "expected one comparison, got --governed and --portable; leave one"),
        (["--stores", "disk"], "'disk' is not one of"),
        (["--pairs", "0"], "greater than or equal to 1"),
    ],
)
def test_what_does_not_go_together_is_refused(
    given: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as ended:
        main(["bench", *given])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def played(cpu: float, **beside: Any) -> dict[str, Any]:
    curves = {"clean_accuracy": [0.5], "attack_success": [None]}
    return {"cpu_seconds": cpu, "wall_seconds": 50.0, "import_cpu_seconds": 7.0, **curves, **beside}


def governed(cpu: float, train: float, prefect: float | None) -> dict[str, Any]:
    servers = {"Prefect": prefect, "MLflow": None}
    return played(cpu, seconds={"start": 1.0, "train": train}, idle={}, startup_seconds=8.0, servers=servers)


def test_pairs_are_printed_as_medians(capsys: pytest.CaptureFixture[str]) -> None:
    way = asdict(Way(governed=True))
    ours = [governed(30.0, 20.0, 3.0), governed(36.0, 26.0, 9.0), governed(33.0, 21.0, 4.0)]
    spans = {
        "ebbdoor": {"median": 33.0, "min": 30.0, "max": 36.0},
        "bare loop": {"median": 20.0, "min": 20.0, "max": 20.0},
    }
    ratio = {"median": 1.65, "min": 1.5, "max": 1.8}
    results = {"ebbdoor": ours, "bare loop": [played(20.0)] * 3}
    print_pairs({"way": way, "cpu_seconds": spans, "ratio": ratio, "servers_start_seconds": 6.5, "played": results})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "stage CPU s", "start 1.00", "train 21.00", "ebbdoor 33.00 30.00 36.00 50.00 7.00", "1.65 1.50 1.80",
        "Prefect server 4.00 CPU s, in no other number", "0 0.500 – 0.500 –",
        "start-up 8.00 wall s until the first period, with both servers running",
        "servers' start 6.50 wall s until both answer, over existing stores",
    ):  # fmt: skip
        assert line in lines
    assert not any(line.startswith("MLflow") for line in lines)


def test_portable_takes_turns_with_native_in_processes_that_start_with_its_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {"native": [10.0, 20.0, 40.0], "portable": [15.0, 22.0, 48.0]}  # ratios 1.5, 1.1 and 1.2

    def play(module: str, order: dict[str, Any], variables: dict[str, str] | None = None) -> dict[str, Any]:
        numerics = "portable" if "numerics=portable" in order["way"]["overrides"] else "native"
        assert (variables or {}) == (PORTABLE if numerics == "portable" else {})
        return played(seconds[numerics][order["seed"]], seconds={"train": 1.0}, idle={})

    monkeypatch.setattr(pairs, "play_apart", play)
    measured = pairs.measure_pairs(0, lambda text: None, Way(prefect=False, stores="memory", portable=True), 3)
    assert list(measured["played"]) == ["ebbdoor", "portable"]
    assert measured["ratio"] == {"median": 1.2, "min": 1.1, "max": 1.5}
    print_pairs(measured)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"1.20 1.10 1.50", "update clean ASR portable clean portable ASR"} <= set(lines)
    assert any(line.startswith("CPU s of portable against native") for line in lines)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads CPU seconds from /proc")
def test_cpu_seconds_of_a_server_include_its_children(tmp_path: Path) -> None:
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    code = f"import subprocess, sys, time\n{burn}subprocess.run([sys.executable, '-S', '-c', {burn!r}])\n"
    done = tmp_path / "done"
    code += f"open({str(done)!r}, 'w').close()\ntime.sleep(60)\n"
    server = launch("burner", [sys.executable, "-S", "-c", code], tmp_path / "log", environment={})
    try:
        deadline = time.monotonic() + 120
        while not done.exists():
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        taken = cpu_seconds(server)
        assert taken is not None
        assert 0.55 < taken < 2
    finally:
        stop(server)
    assert cpu_seconds(server) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_governed_timeline_is_played_on_servers_of_its_own(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [part for text in (*SMALL, "stream.relearning=60") for part in ("--set", text)]
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--governed", "--twin", "--format", "json", *given])
    captured = capsys.readouterr()
    assert ended.value.code == 0, captured.err
    measured = json.loads(captured.out)
    (one,) = measured["played"]["ebbdoor"]
    assert len(one["clean_accuracy"]) == 2
    assert sum(one["seconds"].values()) == pytest.approx(one["cpu_seconds"])
    assert one["seconds"]["monitor"] > 0
    assert one["startup_seconds"] > 0
    assert measured["ratio"] is None
    assert not workspace.exists()  # its stores are its own
    print_pairs(measured)
    assert "start-up" in capsys.readouterr().out
