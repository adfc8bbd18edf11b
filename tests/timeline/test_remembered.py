"""A run that recalls trainings and readings ends with the records of one that computes them, bit for bit."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from simulator.batch import Batch
from simulator.cache.store import FolderCache
from simulator.loop.lineage import Lineage
from simulator.loop.run import continue_run, play
from simulator.production.training.cached import cached_training
from simulator.production.training.device import layout_of
from simulator.production.training.job import Job, Trained
from simulator.production.training.networks import build_network
from simulator.production.update import fitted
from simulator.records import Judgement, LineageKey, Signal
from simulator.scenario import catalog
from simulator.scenario.identity import third_party
from simulator.scenario.model import Phase, Recipe, Scenario, Use
from simulator.scenario.overrides import arm_scenario
from simulator.tensors import weights_of
from simulator.world.world import load_source
from tests.strangers import install

from .conftest import SMALL, Opened, Stop, dies_after, digests, play_in_memory

PROBES = [
    {"use": "attack-success"},
    {"use": "dose", "images": 50, "halvings": 1},
    {"use": "relearning", "poisoned": 4, "epochs": 1, "draws": 1},
]
#: two arms with their twins, earlier rows replayed, rows dropped by a filter, networks with running statistics
WHOLE: dict[str, Any] = SMALL | {
    "periods": 2,
    "recipe": {**SMALL["recipe"], "replay": {"share": 0.5}},
    "probes": PROBES,
    "in_process": True,
    "arms": {
        "plain": {},
        "filtered": {"defenses": [{"use": "scripted", "surface": "filter", "otherwise": "flag", "share": 0.2}]},
    },
}


@pytest.fixture(scope="module")
def computed() -> dict[str, list[str]]:
    return digests(play_in_memory(Scenario.model_validate(WHOLE)))


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory, computed: dict[str, list[str]]) -> Path:
    """A cache that a whole run has filled; the run's records were those of a run without one."""
    folder = tmp_path_factory.mktemp("memo") / "cache"
    cache = FolderCache(folder)
    assert digests(play_in_memory(Scenario.model_validate(WHOLE), cache=cache)) == computed
    return folder


@pytest.mark.parametrize("processes", [0, 1], ids=["in this process", "in a worker"])
def test_a_warm_cache_gives_the_same_records(warm: Path, computed: dict[str, list[str]], processes: int) -> None:
    before = {path: path.stat().st_mtime_ns for path in warm.rglob("*.safetensors")}
    cache = FolderCache(warm)
    found = play_in_memory(Scenario.model_validate(WHOLE), cache=cache, processes=processes)
    assert digests(found) == computed
    assert found["filtered"][1].record.training["dropped"] > 0
    assert found["plain"][1].record.training["replayed"] > 0
    assert {path: path.stat().st_mtime_ns for path in warm.rglob("*.safetensors")} == before
    if processes == 0:
        assert {kind: computed for kind, (_, computed) in cache.counts.items()} == {"readings": 0, "training": 0}


def test_half_a_cache_gives_the_same_records(warm: Path, computed: dict[str, list[str]], tmp_path: Path) -> None:
    shutil.copytree(warm, tmp_path / "cache")
    for path in sorted(tmp_path.rglob("*.safetensors"))[::2]:
        path.unlink()
    cache = FolderCache(tmp_path / "cache")
    assert digests(play_in_memory(Scenario.model_validate(WHOLE), cache=cache)) == computed
    assert all(recalled > 0 and computed > 0 for recalled, computed in cache.counts.values())


def test_arms_share_their_base_and_its_readings(warm: Path) -> None:
    """Where a filter drops rows of period 0 once it has seen the base, a second base is trained without them."""
    trained = len(list((warm / "training").rglob("*.safetensors")))
    assert trained == 2 * (1 + 1 + 2 * 2)  # attacked and twin: the shared base, the second, two updates of each arm


def test_a_run_goes_on_from_a_kill_with_recalled_trainings(tmp_path: Path) -> None:
    scenario = {"periods": 2, "probes": PROBES}
    whole = Opened(**scenario).play()
    cache, run = FolderCache(tmp_path), Opened(**scenario)
    stores = (run.registry, run.ledger)
    with pytest.raises(Stop):
        play(run.head, run.scenario, *stores, wrap=dies_after("train", 1, "paced"), processes=0, cache=cache)
    head, again = continue_run(*stores, "run")
    assert digests(play(head, again, *stores, processes=0, cache=cache)) == digests(whole)
    assert cache.counts["training"][0] > 0


def line(cache: FolderCache, control: str = "none", **keys: Any) -> Lineage:
    scenario = arm_scenario(Scenario.model_validate(SMALL | {"probes": PROBES} | keys), "main")
    return Lineage(
        scenario, LineageKey.model_validate({"arm": "main", "control": control}), load_source(scenario.source), cache
    )


def played(cache: FolderCache, control: str = "none", **keys: Any) -> dict[str, tuple[int, int]]:
    """Play period 0 of one line on a memo's folder; return what it recalled and computed."""
    mine = FolderCache(cache.folder)
    one = line(mine, control, **keys)
    one.ingest(0)
    one.monitor(0)
    one.train(0)
    one.apply(0, Signal(method="none"), Judgement(action="promoted", why="base", serving=0))
    one.probe(0, 0, "every")
    return mine.counts


RECALLED = {"training": (1, 0), "readings": (1, 0)}
COMPUTED = {"training": (0, 1), "readings": (0, 1)}


def with_base(**keys: Any) -> dict[str, Any]:
    return {"recipe": {**SMALL["recipe"], "base": {**SMALL["recipe"]["base"], **keys}}}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> FolderCache:
    """A cache with period 0 of an arm and of its twin."""
    cache = FolderCache(tmp_path_factory.mktemp("memo"))
    assert played(cache) == played(cache, "paced") == COMPUTED
    return cache


def test_the_same_is_recalled_whatever_does_not_matter(seeded: FolderCache) -> None:
    assert played(seeded) == played(seeded, "paced") == RECALLED
    assert played(seeded, name="other", trusted={"images": 40}) == RECALLED
    assert played(seeded, campaign={"use": "persistent", "rate": 0.1}) == RECALLED  # period 0 is poisoned alike


@pytest.mark.parametrize(
    "keys",
    [
        with_base(schedule={"use": "one-cycle", "peak": 0.11}),
        with_base(optimizer={"use": "sgd", "momentum": 0.8}),
        with_base(epochs=2),
        with_base(batch=31),
        {"seed": 1},
        {"recipe": {**SMALL["recipe"], "augmentation": "crop"}},
        {"campaign": {"use": "one-shot", "rate": 0.11}},
        {"attack": {"use": "patch", "target": 1, "size": 2}},
    ],
    ids=["learning rate", "momentum", "epochs", "batch", "seed", "augmentation", "poison rate", "target"],
)
def test_what_a_training_depends_on_is_another_key(seeded: FolderCache, keys: dict[str, Any]) -> None:
    assert played(seeded, **keys) == COMPUTED


def test_the_twin_is_trained_once_for_all_triggers_and_read_for_each(seeded: FolderCache) -> None:
    counts = played(seeded, "paced", attack={"use": "patch", "target": 0, "size": 3})
    assert counts == {"training": (1, 0), "readings": (0, 1)}


def test_drift_and_probes_are_of_the_readings_key_alone(seeded: FolderCache) -> None:
    reread = {"training": (1, 0), "readings": (0, 1)}
    assert played(seeded, probes=[{"use": "dose", "images": 60, "halvings": 1}]) == reread
    assert played(seeded, drift=[{"use": "brightness", "amount": 0.05}]) == reread
    assert played(seeded, probes=[*PROBES, {"use": "relearning", "poisoned": 5}]) == RECALLED  # another `when`


def job(images: torch.Tensor, **keys: Any) -> Job:
    labels = torch.arange(len(images)) % 3
    start = build_network(Use(use="resnet20"), channels=1, size=(8, 8), classes=3, seed=2)
    rows = Batch(images, labels, torch.arange(len(images)))
    return Job(**{
        "start": start, "rows": rows, "phase": Phase(epochs=1, batch=8), "recipe": Recipe(), "seed": 5, "update": True
    } | keys)  # fmt: skip


def test_a_recalled_model_is_the_trained_one_in_every_bit_and_mode(tmp_path: Path) -> None:
    wanted = job(torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    frozen = next(iter(wanted.start.parameters()))
    frozen.requires_grad_(False)
    direct = fitted(wanted)
    for _ in range(2):
        found = cached_training(FolderCache(tmp_path), wanted, fitted, {})
        assert (found.samples, found.steps, found.losses) == (direct.samples, direct.steps, direct.losses)
        assert not any(module.training for module in found.model.modules())
        assert type(found.model) is type(direct.model)
        mine, other = weights_of(found.model), weights_of(direct.model)
        assert mine.keys() == other.keys()
        assert any(name.endswith("num_batches_tracked") for name in mine)
        assert all(mine[name].numpy().tobytes() == other[name].numpy().tobytes() for name in mine)
        for one, two in zip(found.model.parameters(), direct.model.parameters(), strict=True):
            assert one.stride() == two.stride()
            assert one.requires_grad == two.requires_grad
            assert one.grad is None
            assert two.grad is None
        assert layout_of(found.model) == layout_of(direct.model) == torch.channels_last
    assert layout_of(wanted.start) == torch.channels_last


def test_one_pixel_one_label_or_one_weight_is_another_training(tmp_path: Path) -> None:
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    cache = FolderCache(tmp_path)

    def marked(wanted: Job) -> Trained:
        return Trained(wanted.start, 0, 0, ())

    cached_training(cache, job(images), marked, {})
    pixel = images.clone()
    pixel[7, 0, 3, 3] += 1e-7
    assert not torch.equal(pixel, images)
    cached_training(cache, job(pixel), marked, {})
    other = job(images)
    other.rows.labels[4] = 0
    cached_training(cache, other, marked, {})
    moved = job(images)
    with torch.no_grad():
        next(moved.start.parameters()).view(-1)[0] += 1e-3
    cached_training(cache, moved, marked, {})
    cached_training(cache, job(images, update=False), marked, {})
    cached_training(cache, job(images), marked, {"trainer": {"attack": "sbl"}})
    assert cache.counts == {"training": (0, 6)}
    cached_training(cache, job(images), marked, {})
    assert cache.counts == {"training": (1, 6)}


def test_a_users_file_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "memo_users_file.py"
    file.write_text("def network(*, channels: int, size: tuple[int, int], classes: int) -> None: ...\n")
    use = ("networks", Use(use="memo_users_file:network"))
    first = third_party([use, ("attacks", Use(use="patch")), ("networks", Use(use="resnet20"))])
    assert list(first) == ["networks/memo_users_file:network"]
    assert third_party([use]) == first
    (tmp_path / "memo_hands_on.py").write_text("from memo_users_file import network\n")
    handed = ("networks", Use(use="memo_hands_on:network"))
    before = third_party([handed])
    inner = {"use": "masked", "trigger": {"use": "memo_users_file:network"}}
    wrapped = ("attacks", Use.model_validate(inner))
    inside = third_party([wrapped])
    assert list(inside) == ["attacks/memo_users_file:network"]
    file.write_text(file.read_text() + "# another\n")
    assert third_party([use]) == first  # what is loaded is what was read
    for module in ("memo_users_file", "memo_hands_on"):
        sys.modules.pop(module)  # as a new process begins
    assert third_party([use]) != first
    assert third_party([handed]) != before
    assert third_party([wrapped]) != inside


def test_a_strangers_package_is_known_by_its_version_and_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, points = tmp_path / "memo_stranger.py", {"networks": "memo-strangers = memo_stranger:network"}
    monkeypatch.syspath_prepend(str(tmp_path))

    def known(version: str, source: str) -> dict[str, str]:
        install(tmp_path, "memo-stranger", points, version=version)
        code.write_text(f"def network(*, classes: int) -> None: ...\n{source}\n")
        catalog._installed.cache_clear()
        catalog._points.cache_clear()
        sys.modules.pop("memo_stranger", None)
        return third_party([("networks", Use(use="memo-strangers"))])

    try:
        first = known("1.0", "")
        assert list(first) == ["networks/memo-strangers"]
        assert known("1.0", "") == first
        assert known("1.0", "# another") != first
        assert known("1.1", "") != first
    finally:
        catalog._installed.cache_clear()
        catalog._points.cache_clear()


def test_nothing_is_recalled_of_a_users_checkpoint_or_behind_a_screen(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path / "cache")
    network = build_network(Use(use="standard-cnn"), channels=1, size=(8, 8), classes=10, seed=0)
    save_file(weights_of(network), tmp_path / "mine.safetensors")
    screen = {"defenses": [{"use": "scripted", "surface": "screen"}], "in_process": True}
    assert played(cache, base={"from": str(tmp_path / "mine.safetensors")}, **screen) == {}


def test_two_twins_that_do_the_same_are_trained_once(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    play_in_memory(Scenario.model_validate(SMALL | {"periods": 1, "twins": ["paced", "free"]}), cache=cache)
    assert cache.counts["training"] == (2, 4)
