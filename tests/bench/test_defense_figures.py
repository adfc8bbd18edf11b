"""The measurement of defenses, made small: on digits, with few of them; its tables against hand-worked numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.defenses import __main__ as command
from benchmarks.defenses import measure
from benchmarks.defenses.lab import Lab, Sizes, lab
from benchmarks.defenses.tables import PAGE, tables
from benchmarks.results_page import Measured
from defenses.base import DoesNotApply, FilterResult, InspectorResult, RepairResult, ScreenResult, TrainingResult
from simulator.scenario import catalog
from simulator.scenario.model import Use
from simulator.world.world import load_source

DOCS = Path(__file__).parents[2] / "docs"
SMALL = Sizes(400, 60, 60, 60, 2, 2)


@pytest.fixture(scope="module")
def planted() -> Lab:
    return lab(load_source(Use(use="digits")), SMALL, "compact-cnn", 0, planted=True)


def of(surface: str, planted: bool, **figures: Any) -> dict[str, Any]:
    key = {"defense": "mine", "source": "digits", "network": "compact-cnn", "seed": 0, "planted": planted}
    return {**key, "surface": surface, "status": "measured", "seconds": 1.0, "passes": 2000, **figures}


def test_every_registered_defense_is_measured() -> None:
    assert set(measure.registered()) == set(catalog.names("defenses")) - {"scripted"}


def test_a_repair_counts_when_it_halves_for_at_most_four_points() -> None:
    def repaired(after: float, accuracy: float) -> dict[str, Any]:
        figures = {"attack_success": {"before": 0.9, "after": after}, "accuracy": {"before": 0.9, "after": accuracy}}
        return of("repair", True, **figures)

    text = tables([repaired(0.45, 0.86), repaired(0.46, 0.9), repaired(0.0, 0.85)])
    assert (
        "| mine | digits | compact-cnn | 90 (90 to 90) | 30 (0 to 46) | 1 of 3 | 3 (0 to 5) | – | 1.0 | 2,000 |" in text
    )


def test_the_next_update_is_told_beside_the_plain_one() -> None:
    figures = {"attack_success": {"before": 0.8, "after": 0.8}, "accuracy": {"before": 0.9, "after": 0.9}}
    later = {"attack_success": {"before": 0.6, "after": 0.2}, "accuracy": {"before": 0.9, "after": 0.87}}
    text = tables([of("training", True, **figures, next_update=later), of("training", False, **figures)])
    assert "| mine | digits | compact-cnn | 60 (60 to 60) | 20 (20 to 20) | 3 (3 to 3) |" in text


def test_flags_and_refusals_are_counted_apart_for_planted_and_clean_models() -> None:
    flags = [
        of("inspector", planted, flagged=flagged) for planted, flagged in ((True, True), (True, False), (False, 0))
    ]
    assert "| 1 of 2 | 0 of 1 | 1.0 | 2,000 |" in tables(flags)
    screen = of("screen", True, attack_success={"before": 1.0, "after": 0.2}, clean_refused=0.05)
    assert "| 100 (100 to 100) | 20 (20 to 20) | 5 (5 to 5) | – |" in tables([screen])


def test_what_does_not_apply_is_told_with_its_reason() -> None:
    skipped = {**of("screen", True), "status": "not applicable", "reason": "no BatchNorm"}
    text = tables([skipped, {**skipped, "planted": False}])
    assert "| mine | digits | compact-cnn | not applicable: no BatchNorm | 2 |" in text


def test_the_planted_model_differs_by_its_poison_alone(planted: Lab) -> None:
    clean = lab(load_source(Use(use="digits")), SMALL, "compact-cnn", 0, planted=False)
    assert int(planted.poison.sum()) == 20
    assert not clean.poison.any()
    same = (planted.window.images == clean.window.images).flatten(1).all(1)
    assert not same[planted.poison].any()
    assert same[~planted.poison].all()
    for name in ("trusted", "fresh", "test"):
        assert torch.equal(getattr(planted, name).images, getattr(clean, name).images)


class _Made:
    """Stands for a defense of any surface."""

    def filter(self, context: Any) -> Any:
        keep = torch.ones(400, dtype=torch.bool)
        keep[:100] = False
        return FilterResult(keep)

    def repair(self, context: Any) -> Any:
        context.logits(context.trusted.images)  # 60 passes
        torch.nn.init.zeros_(context.model.classifier.weight)
        torch.nn.init.zeros_(context.model.classifier.bias)
        return RepairResult(context.model)

    def train(self, context: Any) -> Any:
        assert context.model.training
        assert len(context.recipe.rates) == 2 * 4  # two epochs of 400 rows in batches of 128, the last one smaller
        return TrainingResult(context.model)

    def inspect(self, context: Any) -> Any:
        return InspectorResult(True, 3.0, 2.0)

    def screen(self, context: Any) -> Any:
        refused = torch.arange(len(context.incoming)) % 2 == 0
        return ScreenResult(refused, answers=torch.full((len(refused),), 9))


@pytest.mark.parametrize("name", ["schedule-sweep", "lwf", "ewc"])
def test_what_trains_is_measured_on_an_update_too(name: str, planted: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """These three train by the recipe where there is no champion yet, so that says nothing of them."""
    real = catalog.build
    built = real("defenses", name)
    seen: list[Any] = []

    def train(context: Any) -> Any:
        seen.append(context)
        return built.train(context)

    watched = type("Watched", (), {"surface": "training", "train": staticmethod(train)})
    for field in ("remembers", "versions_back", "periods_back"):
        setattr(watched, field, getattr(built, field))
    monkeypatch.setattr(catalog, "build", lambda *given: watched if given[1] == name else real(*given))
    found = measure.measured(name, planted)
    assert found["status"] == "measured", found
    base, update = seen
    assert (base.subject, base.period, len(base.window)) == ("candidate", 0, 400)
    assert (update.subject, update.period, len(update.window)) == ("champion", 1, 60)
    assert (base.state.values, bool(update.state.values or update.state.tensors)) == ({}, built.remembers)
    loaded = [one for one in update.history.versions if one.load is not None]
    assert len(loaded) == min(1, built.versions_back)
    assert set(found["next_update"]["attack_success"]) == {"before", "after"}


@pytest.mark.parametrize("surface", ["filter", "training", "repair", "inspector", "screen"])
def test_figures_of_each_surface(surface: str, planted: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "registered", lambda: {"mine": type("Mine", (), {"surface": surface})})
    monkeypatch.setattr(catalog, "build", lambda kind, name, *given: _Made())
    if surface == "training":
        monkeypatch.undo()
        assert _Made().train(planted.training_context()).model is not None
        return
    found = measure.measured("mine", planted)
    assert found["status"] == "measured", found
    if surface == "filter":
        assert found["recall"] == pytest.approx(float(planted.poison[:100].sum()) / 20)
        assert found["clean_dropped"] == pytest.approx((100 - float(planted.poison[:100].sum())) / 380, abs=1e-4)
    if surface == "repair":  # every image is class 0, which is not the target, 1
        assert found["attack_success"]["after"] == 0.0
        assert found["passes"] == 60
    if surface == "inspector":
        assert (found["flagged"], found["score"], found["threshold"]) == (True, 3.0, 2.0)
    if surface == "screen":  # half are refused, the rest is called 9, which is not the target
        assert found["attack_success"]["after"] == 0.0
        assert found["clean_refused"] == 0.5


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [(DoesNotApply("too few"), "not applicable", "too few"), (KeyError("x"), "failed", "KeyError: 'x'")],
)
def test_one_that_fails_or_does_not_apply_ends_nothing(
    error: Exception, status: str, reason: str, planted: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(kind: str, name: str) -> Any:
        raise error

    monkeypatch.setattr(catalog, "build", build)
    found = measure.measured("strip", planted)
    assert (found["status"], found["reason"]) == (status, reason)


def test_it_measures_writes_and_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SIZES", {"digits": SMALL})
    command.main(["--source", "digits", "--seeds", "0", "--defense", "none", "strip", "--format", "json"])
    printed, told = capsys.readouterr()
    assert "seed 0, planted: attack success" in told
    kept, page = tmp_path / "digits.json", tmp_path / "defenses.md"
    kept.write_text(printed, "utf-8")
    first, last = PAGE.markers
    page.write_text(f"before\n{first}\nold\n{last}\nafter\n", "utf-8")
    command.main(["--read", str(kept), "--write", str(page)])
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "- digits, compact-cnn, 5 % poison, seeds 0; " in text
    assert "| none | digits | compact-cnn | 0 (0 to 0) | 0 (0 to 0) |" in text
    assert {(one["defense"], one["planted"]) for one in json.loads(printed)["results"]} == {
        (name, planted) for name in ("none", "strip") for planted in (True, False)
    }


def test_calls_that_differ_in_their_seeds_alone_are_one_line(tmp_path: Path) -> None:
    call = {"cpu": "a", "date": "2026-11-29", "source": "digits", "network": "compact-cnn", "seeds": [0]}
    calls = [{**call, "seeds": [3, 1]}, {**call, "cpu": "b"}, call]
    paths = [tmp_path / f"{number}.json" for number in range(len(calls))]
    for path, one in zip(paths, calls, strict=True):
        path.write_text(json.dumps({"calls": [one], "results": [of("inspector", True, flagged=True)]}), "utf-8")
    found = PAGE.read(paths)
    assert [(one["cpu"], one["seeds"]) for one in found.calls] == [("a", [0, 1, 3]), ("b", [0])]
    assert len(found.results) == 3


def test_the_page_is_what_its_files_hold() -> None:
    """Every figure of the page comes from docs/measured, and every file there is on the page."""
    page = DOCS / "defenses.md"
    text = page.read_text("utf-8")
    assert text == PAGE.replaced(text, PAGE.read(sorted((DOCS / "measured" / "defenses").glob("*.json"))))


def test_files_and_pages_of_others_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}", "utf-8")
    with pytest.raises(SystemExit, match="expected a file that --format json wrote"):
        PAGE.read([other])
    with pytest.raises(SystemExit, match="expected the page to hold"):
        PAGE.replaced("nothing", Measured([], []))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "cifar10"], "expected --cifar10 FILE for the source cifar10, got none"),
        (["--defense", "nonsense"], "expected --defense to name registered ones, got nonsense"),
    ],
)
def test_mistakes_end_it_with_a_sentence(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert words in capsys.readouterr().err
