"""Classes that are labelled from 1, with gaps or by name: numbered from 0 inside, named by their labels outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.errors import PluginError, SourceError
from simulator.preflight.scenario import check_scenario
from simulator.scenario.model import Scenario, Use
from simulator.world.arrivals.contents import Expected, Unfit, read_contents
from simulator.world.class_options import with_positions
from simulator.world.sources.npz import Npz
from simulator.world.world import World, load_source

MakeScenario = Callable[..., Scenario]


def write(path: Path, labels: Any, **arrays: Any) -> str:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), np.uint8)
    np.savez(path, images=images, labels=labels, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("labels", "names", "numbered"),
    [
        ([1, 2, 10, 1], ("1", "2", "10"), [0, 1, 2, 0]),
        ([7, 0, 3, 3], ("0", "3", "7"), [2, 0, 1, 1]),
        (["dog", "cat", "dog", "ant"], ("ant", "cat", "dog"), [2, 1, 2, 0]),
        (["c10", "c9", "c9", "c10"], ("c9", "c10"), [1, 0, 0, 1]),
        (np.array([b"no", b"yes", b"no", b"no"]), ("no", "yes"), [0, 1, 0, 0]),
        ([0, 1, 2, 1], (), [0, 1, 2, 1]),
    ],
)
def test_labels_become_positions_and_their_names_stay(
    tmp_path: Path, labels: Any, names: tuple[str, ...], numbered: list[int]
) -> None:
    test = {"test_images": np.zeros((1, 8, 8), np.uint8), "test_labels": np.array(labels)[:1]}
    data = Npz(path=write(tmp_path / "mine.npz", np.array(labels), **test)).load()
    assert (data.class_names, data.labels.tolist()) == (names, numbered)
    assert data.classes == max(numbered) + 1


def test_classes_are_those_of_all_files_together(tmp_path: Path) -> None:
    write(tmp_path / "1.npz", np.repeat([2, 4], 10))
    write(tmp_path / "2.npz", np.repeat([3, 4], 10))
    data = Npz(files=str(tmp_path), test_share=0.1).load()
    assert data.class_names == ("2", "3", "4")
    assert data.labels.tolist() == [0] * 9 + [2] * 9 + [1] * 9 + [2] * 9


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 1, 2**40, 1], f"expected labels to be numbers of classes, up to 999999, got {2**40}; number the classes"),
        ([0, 1, -1, 1], "got -1; number the classes from 0"),
        (["a", "a", "a", "a"], "expected at least 2 classes, got 1"),
    ],
)
def test_labels_that_are_no_classes_raise(tmp_path: Path, labels: Any, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        Npz(path=write(tmp_path / "bad.npz", np.array(labels))).load()


def test_numbers_and_names_together_raise(tmp_path: Path) -> None:
    write(tmp_path / "1.npz", np.arange(10) % 2)
    write(tmp_path / "2.npz", np.array(["a", "b"] * 5))
    with pytest.raises(SourceError, match="all numbers or all names, got both"):
        Npz(files=str(tmp_path)).load()


def test_options_name_classes_as_the_data_do(tmp_path: Path, make_scenario: MakeScenario) -> None:
    numbers = write(tmp_path / "numbers.npz", np.arange(400) % 4 + 1)
    names = write(tmp_path / "names.npz", np.array(["ant", "bee", "cat", "dog"])[np.arange(400) % 4])
    stream = {"base": 60, "batch": 20, "validation": 20, "relearning": 30, "test": 40}
    recipe = {"base": {"batch": 16}, "update": {"batch": 16}}
    campaign = {"use": "one-shot", "rate": 0.1}
    for path, target, sources, place in ((numbers, 4, [1, 2], 3), (names, "dog", ["ant", "bee"], 3)):
        attack = {"use": "tact", "target": target, "sources": sources}
        drift = [{"use": "label-prior", "favoured": target}]
        scenario = make_scenario(
            source={"use": "npz", "path": path},
            stream=stream,
            recipe=recipe,
            attack=attack,
            drift=drift,
            campaign=campaign,
        )
        check_scenario(scenario, data=True)
        world = World.build(scenario, load_source(scenario.source), attacked=True, device="cpu")
        assert (world.target, world.sources, world.class_names[place]) == (place, (0, 1), str(target))
        prior = world.prior(1)
        assert prior is not None
        assert int(prior.argmax()) == place


@pytest.mark.parametrize(
    ("value", "names", "sentence"),
    [
        (0, ("1", "2"), r"expected target to be a class of the source \(1, 2\), got 0; choose one of them"),
        ("dgo", ("cat", "dog"), "got 'dgo'; did you mean 'dog'?"),
        ("cat", (), r"got 'cat'; choose one of them"),
    ],
)
def test_a_class_that_there_is_not_raises(value: Any, names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        with_positions("attack 'patch'", Use.model_validate({"use": "patch", "target": value}), names)


def test_a_position_is_meant_where_classes_are_called_by_words() -> None:
    use = Use.model_validate({"use": "patch", "target": 1})
    assert with_positions("", use, ("cat", "dog")).options == {"target": 1}
    assert with_positions("", use, ("0", "1")) is use


def test_files_that_arrive_are_labelled_as_the_source_is(tmp_path: Path) -> None:
    data = Npz(path=write(tmp_path / "mine.npz", np.arange(40) % 3 * 2 + 1)).load()  # 1, 3, 5
    expected = Expected.by(data, 1)
    write(tmp_path / "new.npz", np.array([5, 1, 3]))
    assert read_contents(tmp_path / "new.npz", expected).labels.tolist() == [2, 0, 1]
    write(tmp_path / "other.npz", np.array([5, 2, 3]))
    with pytest.raises(Unfit, match=r"to be among the source's \(1, 3, 5\), got 2; number the classes as the source"):
        read_contents(tmp_path / "other.npz", expected)
