"""Take away what a run needs in its middle: disk, storage, database, server, clock; then give it back and go on.

    python tests/faults/resource_faults.py

Each run is played by the command line. What a run can wait for it must ride out; else it must end with the documented
exit code and a sentence, without a traceback, and a resume must complete it as if nothing had been.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import fault_environment  # noqa: F401 - before torch and MLflow are imported
from fault_servers import free_port, mlflow_server
from fault_table import Table, say
from kill_audit import audit
from kill_play import exit_status, forked, in_child, last_line, preload
from kill_scenario import copy_template, make_template, scenario_file, undisturbed
from kill_trace import Tracer
from resource_scenes import SCENES, Impossible, Scene, Stage

from flows.runs.folder import find_run_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Play every scene, print the table, and return the exit status."""
    options = _options(arguments)
    began = time.monotonic()
    folder = Path(mkdtemp(prefix="ebbdoor-resources-"))
    try:
        rows = _scenes(folder, [scene for scene in SCENES if options.only in scene.name])
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    skipped = [row["fault"] for row in rows if str(row["verdict"]).startswith("skipped")]
    good = sum(row["verdict"] == "equal" for row in rows)
    say(
        f"{good} of {len(rows)} faults ended as they should, {len(skipped)} skipped; "
        f"{time.monotonic() - began:.0f} s, load {os.getloadavg()[1]:.1f}"
    )
    return 0 if good + len(skipped) == len(rows) else 1


def _scenes(folder: Path, scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    template, scenario = folder / "template", scenario_file(folder, in_process=True)
    in_child(lambda: str(make_template(template)), folder)
    preload(in_child(lambda: _modules(template, scenario, folder / "rehearsal"), folder))
    expected = in_child(lambda: undisturbed(scenario), folder)
    table = Table({"fault": 46, "ended": 5, "s": 5, "in words": 100, "verdict": 30})
    rows = []
    for number, scene in enumerate(scenes):
        workspace = copy_template(template, folder / f"{number:02d}" / "runs")
        rows.append({"fault": scene.name, **_one(scene, workspace, scenario, expected)})
        table.row(rows[-1])
    return rows


def _one(scene: Scene, workspace: Path, scenario: Path, expected: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Play one scene in a process of its own, for some of them change what that process sees of the file system."""
    try:
        found: dict[str, Any] = in_child(lambda: _played(scene, workspace, scenario, expected), workspace.parent)
    except RuntimeError as error:
        return {"verdict": f"the harness failed: {error}"}
    return found


def _played(scene: Scene, workspace: Path, scenario: Path, expected: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    stage = Stage(workspace, mlflow_server(workspace, free_port()) if scene.server else None)
    try:
        try:
            scene.prepare(stage)
        except Impossible as error:
            return {"verdict": f"skipped: {error}"}
        return _disturbed(scene, stage, scenario, expected)
    finally:
        stage.close()


def _disturbed(scene: Scene, stage: Stage, scenario: Path, expected: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    log = stage.workspace.parent / "command.log"
    began = time.monotonic()
    command = ["run", str(scenario), "--no-prefect", "--processes", "0", "--display", "json"]
    ended = _command(scene, stage, [*command, "--out", str(stage.workspace / "mine")], log)
    words = next((line for line in log.read_text().splitlines() if line.startswith("ebbdoor: ")), "")
    row = {"ended": ended, "s": f"{time.monotonic() - began:.0f}", "in words": _short(words)}
    wrong = [] if ended == scene.exit else [f"ended with {ended}, not {scene.exit}: {last_line(log)}"]
    if "Traceback" in log.read_text():
        wrong.append("printed a traceback")
    scene.restore(stage)
    if ended:
        resume = ["resume", str(stage.workspace / "mine"), "--no-prefect", "--processes", "0", "--display", "json"]
        if again := _command(None, stage, resume, stage.workspace.parent / "resume.log"):
            wrong.append(f"the resume ended with {again}: {last_line(stage.workspace.parent / 'resume.log')}")
    os.environ.update(stage.environment)
    wrong += [sentence for _, sentence in audit(find_run_folder("mine", stage.workspace), expected)]
    return {**row, "verdict": "; ".join(wrong) or "equal"}


def _short(words: str) -> str:
    """What could not be done and why, without the store's address."""
    return re.sub(r"^ebbdoor: expected the MLflow store at \S+ to ", "", words)[:100]


def _command(scene: Scene | None, stage: Stage, arguments: Sequence[str], log: Path) -> int:
    """Run the command line in a forked process; a scene's fault happens in it at the scene's mark."""

    def work() -> None:
        from flows import execute
        from flows.cli import main as cli

        os.environ.update(stage.environment)
        if scene is not None:
            os.environ.update(scene.environment)
            tracer = Tracer(stage.workspace.parent / "marks.jsonl", scene.trigger, lambda: scene.strike(stage))
            tracer.watch_client()
            play = execute.play_place
            execute.play_place = lambda *given, wrap, **options: play(*given, wrap=tracer.wrap, **options)
        cli(arguments)

    return exit_status(os.waitpid(forked(work, log), 0)[1])


def _modules(template: Path, scenario: Path, folder: Path) -> list[str]:
    """Play the beginning of a run elsewhere, and return what it imported."""
    workspace = copy_template(template, folder)
    command = ["run", str(scenario), "--no-prefect", "--processes", "0", "--display", "json", "--until", "0"]
    _command(None, Stage(workspace, None), [*command, "--out", str(workspace / "mine")], folder / "log")
    import torch._dynamo  # noqa: F401

    return sorted(sys.modules)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="only the faults whose name holds this")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the disturbed runs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
