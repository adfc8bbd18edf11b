"""The peers do the bare loop's work, and each plays it: here on a few hundred images."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.peers import __main__ as command
from benchmarks.peers.classic import play_classic
from benchmarks.peers.one import PLAYERS, play_one
from benchmarks.peers.ours import play_bare_loop, play_ebbdoor
from benchmarks.peers.work import STANDARD_SIZES, Images, Sizes, pipeline, standard_timeline
from simulator.bench import bare_loop
from simulator.bench.rounds import play_apart

TINY = {"base": 600, "fresh": 150, "test": 120, "updates": 2, "epochs": 1}
SIZES = Sizes(**TINY)


@pytest.fixture(scope="module")
def timeline() -> Any:
    return standard_timeline(3, SIZES)


@pytest.fixture(scope="module")
def bare() -> list[tuple[Tensor, Tensor]]:
    """What the bare loop trains on at seed 3: images in [0, 1] and labels, a pair a training."""
    trained: list[tuple[Tensor, Tensor]] = []

    def train(model: nn.Module, images: Tensor, labels: Tensor, *others: object) -> None:
        trained.append((images, labels))

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"BASE": 600, "FRESH": 150, "TEST": 120, "UPDATES": 2}.items():
            patch.setattr(bare_loop, name, value)
        patch.setattr(bare_loop, "_train", train)
        patch.setattr(bare_loop, "_measure", lambda *arguments: (0.0, 0.0))
        list(bare_loop._timeline(3))
    return trained


def test_sizes_are_the_bare_loops() -> None:
    assert Sizes(10000, 2000, 2000, 10, 4) == STANDARD_SIZES


def test_the_base_training_sees_the_very_images_and_poison(timeline: Any, bare: list[tuple[Tensor, Tensor]]) -> None:
    part, degrees = timeline.training[0]
    assert degrees == 0
    assert int(part.poison.sum()) == 30  # 5 % of 600
    images = Images(part, pipeline(degrees))
    assert images.targets == bare[0][1].tolist()
    seen = torch.stack([images[at][0] for at in range(len(images))])
    torch.testing.assert_close(seen, bare[0][0] * 2 - 1, rtol=0, atol=1e-6)


def test_updates_see_the_very_images_turned_the_same_way(timeline: Any, bare: list[tuple[Tensor, Tensor]]) -> None:
    assert [degrees for _, degrees in timeline.training] == [0, 4, 8]
    for (part, degrees), (expected, labels) in zip(timeline.training[1:], bare[1:], strict=True):
        images = Images(part, pipeline(degrees))
        assert images.targets == labels.tolist()
        assert not part.poison.any()
        seen = torch.stack([images[at][0] for at in range(len(images))])
        plain = torch.stack([Images(part, pipeline(0))[at][0] for at in range(len(images))])
        # PIL rounds to 256 levels and torch interpolates at the border: near, and much nearer than not turned
        assert float((seen - (expected * 2 - 1)).abs().mean()) < 0.02
        assert float((plain - (expected * 2 - 1)).abs().mean()) > 0.04


def test_test_images_are_stamped_after_their_rotation(timeline: Any) -> None:
    assert len(timeline.clean.labels) == 120
    assert set(timeline.attacked.labels.tolist()) == {0}
    assert len(timeline.attacked.labels) == int((timeline.clean.labels != 0).sum())
    plain, stamped = pipeline(40), pipeline(40, stamped=True)
    image = Image.fromarray(timeline.attacked.images[0].numpy())
    torch.testing.assert_close(stamped(image), bare_loop._stamp(plain(image)[None])[0], rtol=0, atol=0)


def test_the_network_has_the_bare_loops_weights_in_torchs_own_layout(timeline: Any) -> None:
    for mine, theirs in zip(timeline.network.parameters(), bare_loop._network(3).parameters(), strict=True):
        assert mine.is_contiguous()
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def check_curves(found: dict[str, Any]) -> None:
    assert len(found["clean_accuracy"]) == len(found["attack_success"]) == 3
    assert all(0 <= share <= 1 for name in ("clean_accuracy", "attack_success") for share in found[name])


def test_ebbdoor_and_the_classic_loop_play() -> None:
    threads = torch.get_num_threads()
    try:
        for name in ("ebbdoor", "classic"):
            found = play_one(name, 0, TINY)
            check_curves(found)
            assert 0 < found["cpu_seconds"] < 60
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_loading_processes_change_no_number_and_are_counted() -> None:
    with_workers = play_apart("benchmarks.peers.one", {"name": "classic-2-workers", "seed": 0, "sizes": TINY})
    alone = play_classic(0, SIZES)
    assert {name: with_workers[name] for name in alone} == alone
    check_curves(with_workers)


@pytest.mark.skipif(
    find_spec("avalanche") is None, reason="avalanche-lib is not installed: the extra 'peers' brings it"
)
def test_avalanche_learns_what_the_classic_loop_learns() -> None:
    found = play_apart("benchmarks.peers.one", {"name": "avalanche", "seed": 0, "sizes": TINY})
    # the same batches in the same order from the same weights
    for name, curve in play_classic(0, SIZES).items():
        assert found[name] == pytest.approx(curve, abs=0.02)


def test_the_bare_loop_keeps_its_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected the bare loop to have its own sizes, got Sizes"):
        play_bare_loop(0, SIZES)
    whole = {"seed": 4, "clean_accuracy": [0.5], "attack_success": [0.25], "wall_seconds": 9.0}
    monkeypatch.setattr(bare_loop, "run_bare_loop", lambda seed: {**whole, "seed": seed})
    assert play_bare_loop(4, STANDARD_SIZES) == {"clean_accuracy": [0.5], "attack_success": [0.25]}


def test_seeds_differ() -> None:
    assert play_ebbdoor(0, SIZES) != play_ebbdoor(1, SIZES)


def test_a_round_has_the_next_seed_and_names_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[dict[str, Any]] = []

    def play(module: str, order: dict[str, Any]) -> dict[str, Any]:
        orders.append(order)
        return {"cpu_seconds": 2.0, "clean_accuracy": [0.5], "attack_success": [0.5]}

    monkeypatch.setattr(command, "play_apart", play)
    found = command.measure_peers(["ebbdoor", "classic"], 2, 7, lambda text: None, TINY)
    assert [(order["name"], order["seed"]) for order in orders] == [
        ("ebbdoor", 7), ("classic", 7), ("classic", 8), ("ebbdoor", 8),
    ]  # fmt: skip
    assert found["ratio"]["ebbdoor"]["classic"]["median"] == 1
    assert found["rounds"] == 2
    for names, got in ((["clasic"], "clasic"), ([], "none")):
        with pytest.raises(ValueError, match=f"expected names among {', '.join(PLAYERS)}, got {got}; correct them"):
            command.measure_peers(names, 1, 0, print)


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    with pytest.raises(SystemExit) as error:
        command.main(list(arguments))
    return error.value.code, capsys.readouterr().err


def test_bad_input_is_a_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, told = ended(capsys, "--rounds", "0")
    assert code == 2
    assert told.endswith("bench-peers: expected at least one round, got 0; ask for 5 or more to compare\n")
    code, told = ended(capsys, "--only", "nobody")
    assert code == 2
    assert "invalid choice: 'nobody'" in told
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    code, told = ended(capsys, "--only", "avalanche")
    assert code == 2
    assert "expected avalanche-lib to be installed, got none; install ebbdoor with the extra 'peers'" in told


def test_without_avalanche_the_others_are_played(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def measure(names: list[str], *others: Any) -> dict[str, Any]:
        asked.extend(names)
        return {"cpu_seconds": {}}

    monkeypatch.setattr(command, "find_spec", lambda name: None)
    monkeypatch.setattr(command, "measure_peers", measure)
    command.main(["--format", "json"])
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"cpu_seconds": {}}
    assert asked == [name for name in PLAYERS if name != "avalanche"]
    assert "Avalanche is left out: it is not installed" in printed.err
