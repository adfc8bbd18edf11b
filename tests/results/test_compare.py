"""`ebbdoor compare`: runs and studies side by side, two settings paired by seed, against hand-worked figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import main
from flows.commands.compare import compare
from flows.commands.output import Format
from simulator.errors import ScenarioError, StoreError
from simulator.observer.export import export_of, write_run
from simulator.production.registry.base import RunHead
from simulator.production.registry.folder import FolderLedger
from simulator.records import LineageKey
from simulator.study.tables import digests_of, write_tables
from simulator.study.timelines import PlayedTimeline

Build = Callable[..., PlayedTimeline]
KEEPS, FORGETS = [0.9, 0.9, 0.9, 0.9, 0.9], [0.9, 0.2, 0.1, 0.0, 0.0]


def write_export(folder: Path, one: PlayedTimeline) -> str:
    """Write what `write_run` writes, but for the page; return the folder."""
    run = export_of(one.timeline.scenario.tree, one.entries)
    folder.mkdir(parents=True)
    (folder / "periods.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in run.rows))
    (folder / "summary.json").write_text(json.dumps({**run.about, **run.summary}))
    (folder / "scenario.yaml").write_text(yaml.safe_dump(dict(run.scenario)))
    return str(folder)


def write_study(folder: Path, played: Sequence[PlayedTimeline]) -> str:
    """Write what a study's folder holds, as far as it is read; return the folder."""
    write_tables(folder, played)
    (folder / "study.json").write_text("{}")
    ledger = FolderLedger(folder / "timelines")
    for one in played:
        scenario = one.timeline.scenario
        values = scenario.model_dump(mode="json")
        ledger.open(
            RunHead(one.timeline.name, values, scenario.digest(), "1" * 64, (LineageKey(arm=one.timeline.arm),))
        )
    return str(folder)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command and return what it printed, parsed."""

    def run(*folders: str, **options: Any) -> Any:
        compare(list(folders), **{"format_": Format.json, **options})
        out = capsys.readouterr().out
        return json.loads(out) if options.get("format_", Format.json) is Format.json else out

    return run


@pytest.fixture
def rates(played: Build, tmp_path: Path) -> str:
    """A study: slow lives on for 4 updates, fast is erased after 1, 1 and 2; seed 103 is never planted there."""
    lines = {100: FORGETS, 101: FORGETS, 102: [0.9, 0.9, 0.1, 0.1, 0.1], 103: [0.1] * 5}
    slow = [played(KEEPS, arm="slow", seed=seed) for seed in lines]
    keys = {"recipe": {"update": {"epochs": 2}}}
    fast = [played(nets, arm="fast", seed=seed, keys=keys) for seed, nets in lines.items()]
    return write_study(tmp_path / "rates", slow + fast)


def test_runs_of_one_scenario_at_several_seeds_are_one_setting(
    played: Build, tmp_path: Path, told: Callable[..., Any]
) -> None:
    folders = [write_export(tmp_path / f"run-{seed}", played(KEEPS, seed=seed)) for seed in (0, 1)]
    found = told(*folders)
    assert [(row["setting"], row["seeds"], row["planted"]) for row in found["settings"]] == [("main", [0, 1], 2)]
    assert found["differences"] == {}
    assert found["comparison"] is None


def test_a_whole_run_folder_is_read(played: Build, tmp_path: Path, told: Callable[..., Any]) -> None:
    one = played(FORGETS, extra={0: {"backdoor/trigger_ed50": 0.25}, 4: {"stranger/shift": 3.0}})
    write_run(tmp_path / "run", one.timeline.scenario.tree, one.entries)
    row = told(str(tmp_path / "run"))["settings"][0]
    assert row["survival_updates"] == {"median": 1, "low": 1, "high": 1, "n": 1, "beyond": []}
    assert row["initial_net_attack_success"]["median"] == 0.9


def test_runs_that_differ_are_told_apart_by_folder_and_key(
    played: Build, tmp_path: Path, told: Callable[..., Any]
) -> None:
    one = write_export(tmp_path / "slow", played(KEEPS, seed=0))
    other = write_export(tmp_path / "fast", played(FORGETS, seed=0, keys={"recipe": {"update": {"epochs": 9}}}))
    found = told(one, other)
    assert [row["setting"] for row in found["settings"]] == ["slow/main", "fast/main"]
    assert found["differences"] == {"recipe.update.epochs": [4, 9]}
    text = told(one, other, format_=Format.table)
    assert "recipe.update.epochs: 4 | 9" in text


def test_the_same_run_twice_is_two_settings(played: Build, tmp_path: Path, told: Callable[..., Any]) -> None:
    one = write_export(tmp_path / "run", played(KEEPS, seed=0))
    other = write_export(tmp_path / "again" / "run", played(KEEPS, seed=0))
    found = told(one, other)
    assert [row["setting"] for row in found["settings"]] == ["run/main", "run/main (2)"]
    assert "do not differ" in told(one, other, format_=Format.table)


def test_a_study_is_compared_by_seed(rates: str, told: Callable[..., Any]) -> None:
    found = told(rates, one="slow", other="fast")["comparison"]
    # min(survival, 4) of seeds 100 to 102: 4 - 1, 4 - 1, 4 - 2; 103 is not planted in one of them
    assert found["estimate"] == pytest.approx((3 + 3 + 2) / 3)
    assert (found["n"], found["left_out"]) == (3, [103])
    assert found["p"] == found["smallest_p"] == 0.25
    assert (found["interval"]["low"], found["interval"]["high"], found["interval"]["level"]) == (2, 3, 0.75)
    assert found["effects"]["superiority"] == 1
    assert found["endpoint"]["horizon"] == 4


def test_people_read_the_interval_with_its_true_level(rates: str, told: Callable[..., Any]) -> None:
    text = told(rates, one="slow", other="fast", format_=Format.table)
    assert "survival in updates up to 4, slow − fast: 2.67 (75 % interval 2 to 3); p 0.25" in text
    assert "3 pairs; left out: seed 103" in text
    assert "recipe.update.epochs: 4 | 2" in text


def test_any_column_with_numbers_can_be_compared(rates: str, told: Callable[..., Any]) -> None:
    found = told(rates, one="slow", other="fast", measure="final_net_attack_success")["comparison"]
    assert found["estimate"] == pytest.approx((0.9 + 0.9 + 0.8 + 0.8) / 4)
    assert found["n"] == 4


def test_seeds_of_one_side_only_are_left_out(played: Build, tmp_path: Path, told: Callable[..., Any]) -> None:
    lines = [played(KEEPS, arm="a", seed=seed) for seed in (1, 2, 3)] + [
        played(FORGETS, arm="b", seed=s) for s in (2, 4)
    ]
    found = told(write_study(tmp_path / "s", lines), one="a", other="b", measure="exposure")["comparison"]
    assert (found["n"], found["left_out"]) == (1, [1, 3, 4])
    assert found["interval"]["reason"] == "one pair says nothing about its spread; run more seeds"


def test_runs_and_studies_stand_side_by_side(
    rates: str, played: Build, tmp_path: Path, told: Callable[..., Any]
) -> None:
    run = write_export(tmp_path / "mine", played(KEEPS, arm="slow", seed=7, keys={"periods": 9}))
    assert [row["setting"] for row in told(rates, run)["settings"]] == ["rates/slow", "fast", "mine/slow"]


def test_the_picture_overlays_the_settings(rates: str, tmp_path: Path, told: Callable[..., Any]) -> None:
    told(rates, picture=tmp_path / "nets.svg")
    assert (tmp_path / "nets.svg").read_text().startswith("<?xml")


def test_names_in_the_workspace_are_found(
    rates: str, tmp_path: Path, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path / "w"))
    (tmp_path / "w" / "studies").mkdir(parents=True)
    Path(rates).rename(tmp_path / "w" / "studies" / "rates")
    assert [row["setting"] for row in told("rates")["settings"]] == ["slow", "fast"]


def test_other_data_and_other_lengths_are_refused(played: Build, tmp_path: Path, told: Callable[..., Any]) -> None:
    one = write_export(tmp_path / "one", played(KEEPS, arm="a"))
    data = write_export(tmp_path / "data", played(KEEPS, arm="b", source="2" * 64, keys={"source": {"use": "digits"}}))
    longer = write_export(tmp_path / "longer", played([*KEEPS, 0.9], arm="c"))
    with pytest.raises(
        ScenarioError, match=r"one source, got fashion-mnist \(1{12}\) in 'a' and digits \(2{12}\) in 'b'"
    ):
        told(one, data)
    with pytest.raises(ScenarioError, match="of as many periods, got 4 periods in 'a' and 5 periods in 'c'; choose"):
        told(one, longer)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"one": "slow"}, "expected --one and --other together, got one of them"),
        ({"one": "slow", "other": "slow"}, "expected two settings, got 'slow' twice"),
        ({"one": "slow", "other": "fasd"}, "expected a setting of these folders, got 'fasd'; did you mean 'fast'"),
        (
            {"one": "slow", "other": "fast", "measure": "final_net"},
            "or a column with numbers, got 'final_net'; did you",
        ),
        ({"one": "slow", "other": "fast", "measure": "survival_updates_0.5"}, "did you mean 'survival'"),
        ({"picture": Path("a.png")}, r"expected --picture to name an .svg file in a folder that exists, got 'a.png'"),
    ],
)
def test_bad_options_are_told(rates: str, told: Callable[..., Any], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        told(rates, **options)


def test_survival_needs_a_planted_backdoor(played: Build, tmp_path: Path, told: Callable[..., Any]) -> None:
    folder = write_study(tmp_path / "s", [played([0.1, 0.1], arm=arm) for arm in ("a", "b")])
    with pytest.raises(ScenarioError, match="expected 'a' and 'b' to be planted and then updated, got no update"):
        told(folder, one="a", other="b")


def test_bad_folders_are_told(tmp_path: Path, told: Callable[..., Any]) -> None:
    with pytest.raises(ScenarioError, match="expected the folder or name of a run or a study, got 'nowhere'"):
        told("nowhere")
    with pytest.raises(ScenarioError, match=r"got '.*', where neither summary.json nor study.json is"):
        told(str(tmp_path))
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(StoreError, match=r"timelines.parquet' to be a table of a study, got FileNotFoundError"):
        told(str(tmp_path))


def test_more_seeds_than_all_patterns_are_counted_for_are_weighed(
    played: Build, tmp_path: Path, told: Callable[..., Any]
) -> None:
    lines = [played([0.9, 0.9], arm=arm, seed=seed) for arm in ("a", "b") for seed in range(21)]
    found = told(write_study(tmp_path / "s", lines), one="a", other="b", format_=Format.table)
    assert "by random sign patterns, the exact one from" in str(found)


def test_a_mistake_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "nowhere"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("ebbdoor: expected the folder or name of a run or a study, got 'nowhere'")


@pytest.mark.parametrize("name", ["timelines.parquet", "periods.parquet", "timelines.csv"])
def test_a_study_whose_table_was_changed_is_refused(played: Build, tmp_path: Path, name: str) -> None:
    folder = Path(write_study(tmp_path / "study", [played(KEEPS), played(FORGETS, seed=1)]))
    (folder / "study.json").write_text(json.dumps({"tables": digests_of(folder)}))
    compare([str(folder)])
    table = (folder / name).read_bytes()
    (folder / name).write_bytes(table[:-1] + bytes([table[-1] ^ 1]))
    with pytest.raises(StoreError, match=f"{name}' to be as ebbdoor wrote it, got one that was changed; write it anew"):
        compare([str(folder)])
