"""Malformed inputs, made from what a scenario knows: each is refused in one sentence, whatever key it comes under."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simulator.scenario.catalog import KINDS
from simulator.scenario.model import Scenario

#: a name of the case -> the arguments after `ebbdoor run`
Cases = dict[str, list[str]]

#: what no number, text or section of a scenario can be
_NEVER = {"a-list": "[[1]]", "not-a-number": ".nan", "keys": "{no-such-key: 1}"}
#: kind of plug-in -> the key that names one
_PLUGINS = {
    "sources": "source",
    "attacks": "attack",
    "campaigns": "campaign",
    "monitors": "monitor",
    "policies": "policy",
    "networks": "recipe.network",
    "optimizers": "recipe.update.optimizer",
    "gates": "gate",
    "probes": "probes.0",
    "schedules": "recipe.update.schedule",
    "defenses": "defenses.0",
    "drifts": "drift.0",
}
_WRONG_USES = {
    "unknown": "{use: no-such-thing}",
    "of-python": "{use: 'sys:exit'}",
    "no-module": "{use: 'no_such_module:Thing'}",
    "not-a-plugin": "{use: 'simulator.records:Finite'}",
    "an-option": "{use: 'nets:fine', no-such-option: 1}",
}

NETS = """
import sys
import torch
from torch import nn

def fine(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))

class Answers(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.layer, self.answer = nn.Linear(1, 1), answer
    def forward(self, images):
        return self.answer(images)

def exits(*, classes: int) -> nn.Module:
    sys.exit(0)

def nothing(*, classes: int) -> nn.Module:
    return None

def whole_numbers(*, classes: int) -> nn.Module:
    return Answers(lambda images: torch.zeros(len(images), classes, dtype=torch.long))

def too_many(*, classes: int) -> nn.Module:
    return Answers(lambda images: torch.zeros(len(images), classes + 1))

def flat(*, classes: int) -> nn.Module:
    return Answers(lambda images: torch.zeros(len(images)))

def two_only(*, classes: int) -> nn.Module:
    return Answers(lambda images: images.view(2, -1)[:, :classes].clone().requires_grad_())

def squeezes(*, classes: int) -> nn.Module:
    return Answers(lambda images: images.flatten(1)[:, :classes].clone().requires_grad_().squeeze())

def detached(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    layer = nn.Linear(channels * size[0] * size[1], classes)
    found = Answers(lambda images: layer(images.flatten(1)).detach())
    return found

def a_tuple(*, classes: int) -> nn.Module:
    return Answers(lambda images: (images, images))

def raises(*, classes: int) -> nn.Module:
    raise KeyError("no such thing")

def exits_later(*, classes: int) -> nn.Module:
    return Answers(lambda images: sys.exit(0))

def no_linear(*, channels: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
NETWORKS = (
    *("exits", "nothing", "whole_numbers", "too_many", "flat", "two_only", "squeezes", "detached", "a_tuple", "raises"),
    *("exits_later", "no_linear", "no_such_network"),
)


def texts() -> dict[str, str]:
    """Scenario files that are no scenario, by the name of the case."""
    bomb = ["name: bomb", "x0: &x0 [" + ",".join(["lol"] * 10) + "]"]
    bomb += [f"x{i}: &x{i} [" + ",".join([f"*x{i - 1}"] * 10) + "]" for i in range(1, 9)]
    deep_aliases = ["name: b", "a0: &a0 [1]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 600))]
    return {
        "alias-bomb": "\n".join(bomb),
        "merge-bomb": "\n".join(line.replace("[", "{<<: [").replace("]", "]}") for line in bomb),
        "deep-aliases": "\n".join(deep_aliases),
        "alias-inside-itself": "name: &a [*a]",
        "deep-block": "\n".join("  " * i + f"k{i}:" for i in range(400)),
        "deep-flow": "name: " + "[" * 3000,
        "deep-flow-closed": "name: " + "[" * 3000 + "]" * 3000,
        "long": "name: " + "x" * 400_000,
        "many-values": "probes: [" + "1, " * 60_000 + "1]",
        "big-number": "seed: " + "9" * 5000,
        "number-of-30-digits": "seed: " + "9" * 30,
        "int-tag": "seed: !!int 'abc'",
        "float-tag": "defense_seconds: !!float 'abc'",
        "bool-tag": "oracle: !!bool maybe",
        "null-tag": "name: !!null [a]",
        "timestamp-tag": "name: !!timestamp 'x'",
        "timestamp": "name: !!timestamp 2001-01-01",
        "map-tag": "arms: !!map [a]",
        "seq-tag": "probes: !!seq a",
        "set-tag": "arms: !!set {a, b}",
        "omap-tag": "arms: !!omap [a]",
        "pairs-tag": "arms: !!pairs [a]",
        "binary-tag": "name: !!binary '%%%'",
        "python-tag": "name: !!python/object/apply:os.system ['true']",
        "own-tag": "name: !mine x",
        "half-character": 'name: "\\ud800"',
        "nul": 'name: "a\\0b"',
        "nul-in-rules": 'gate: {use: rules, file: "a\\0b"}',
        "nul-in-arrivals": 'stream: {arrivals: {folder: "a\\0b"}}',
        "nul-in-a-key": '"a\\0b": 1',
        "home-of-nobody": "gate: {use: rules, file: '~nouser/x'}",
        "npz-home-of-nobody": "source: {use: npz, path: '~nouser/x.npz'}",
        "twice": "seed: 1\nseed: 2",
        "a-list": "- a\n- b",
        "a-word": "word",
        "empty": "",
        "two-documents": "seed: 1\n---\nseed: 2",
        "unclosed": "name: [a, b",
        "tab": "name:\n\t- a",
        "key-is-a-list": "? [a, b]\n: 1",
        "key-is-a-number": "1.5: 1",
        "unknown-anchor": "name: *nowhere",
        "unknown-key": "perids: 3",
        "arm-overrides-the-run": "arms: {a: {seed: 1}}",
        "arm-is-a-list": "arms: {a: [1]}",
        "arm-without-end": "arms: {a: {" + ".".join(["x"] * 500) + ": 1}}",
        "no-arm": "arms: {}",
        "name-of-an-arm": "arms: {'A b': {}}",
    }


def overrides() -> Cases:
    """Values of `--set` that are none, by the name of the case."""
    values = {
        "deep": ".".join(["a"] * 3000) + "=3",
        "long-key": "a" * 100_000 + "=3",
        "no-equals": "periods",
        "no-key": "=3",
        "dots": "a..b=3",
        "of-python": "recipe.network={use: 'os:_exit'}",
        "a-path": "attack={use: '../up:Thing'}",
        "no-class": "gate={use: 'simulator.records:Nothing'}",
        "below-a-number": "seed.deep=1",
        "bomb": "name=" + "".join(f"[&a{i} [" for i in range(50)),
        "deep-value": "probes=" + "[" * 2000,
        "index": "drift.7.degrees=1",
        "tag": "seed=!!int x",
        "number": "seed=" + "9" * 5000,
    }
    return {f"set-{name}": ["digits", "--set", value] for name, value in values.items()}


def leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The dotted keys of a scenario that hold one value and are no plug-in's."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and "use" not in value and name != "arms":
            yield from leaves(value, f"{above}{name}.")
        elif isinstance(value, int | float | str):
            yield f"{above}{name}"


def values() -> Cases:
    """Every key of a scenario with what it cannot be."""
    # `recipe.start` and the like are text, and so are names: a text of other letters is refused there too
    keys = [key for key in leaves(Scenario().tree) if key != "base"]
    return {f"{key}-{name}": ["digits", "--set", f"{key}={value}"] for key in keys for name, value in _NEVER.items()}


def plugins() -> Cases:
    """Every kind of plug-in, named wrongly."""
    assert set(_PLUGINS) == set(KINDS)
    return {
        f"{key}-{name}": ["digits", "--set", f"{key}={use}"]
        for key in _PLUGINS.values()
        for name, use in _WRONG_USES.items()
    }


def networks() -> Cases:
    """A user's networks that cannot be trained here."""
    found = {f"network-{name}": f"{{use: 'nets:{name}'}}" for name in NETWORKS}
    found |= {
        "features-unknown": "{use: 'nets:fine', features: layer4}",
        "features-a-number": "{use: 'nets:fine', features: 1}",
        "features-of-a-shipped-one": "{use: standard-cnn, features: no-such-layer}",
    }
    return {name: ["digits", "--set", f"recipe.network={use}"] for name, use in found.items()}


def archives(folder: Path) -> Cases:
    """Archives of images that are none; written into `folder`."""
    images, labels = np.zeros((600, 8, 8), np.uint8), np.arange(600) % 10
    arrays: dict[str, dict[str, Any]] = {
        "hash-labels": {"images": images, "labels": np.where(labels == 5, 2**62, labels)},
        "id-labels": {"images": images, "labels": np.where(labels == 3, 3_000_000_000, labels)},
        "float-labels": {"images": images, "labels": labels + 0.5},
        "text-labels": {"images": images, "labels": labels.astype(str)},
        "no-labels": {"images": images},
        "fewer-labels": {"images": images, "labels": labels[:-1]},
        "no-rows": {"images": images[:0], "labels": labels[:0]},
        "four-channels": {"images": np.zeros((600, 8, 8, 4), np.uint8), "labels": labels},
        "five-axes": {"images": np.zeros((6, 1, 8, 8, 3), np.uint8), "labels": labels[:6]},
        "tiny-images": {"images": images[:, :4, :4], "labels": labels},
        "one-class": {"images": images, "labels": labels * 0},
        "objects": {"images": np.array([None] * 600, dtype=object), "labels": labels},
        "complex": {"images": images.astype(complex), "labels": labels},
    }
    for name, given in arrays.items():
        np.savez(folder / f"{name}.npz", **given)
    (folder / "not-a-zip.npz").write_bytes(b"PK\3\4 and then nothing of the kind")
    (folder / "empty.npz").write_bytes(b"")
    with zipfile.ZipFile(folder / "no-arrays.npz", "w") as archive:
        for name in ("images.npy", "labels.npy"):
            archive.writestr(name, b"hello")
    with zipfile.ZipFile(folder / "lies-about-its-shape.npz", "w") as archive:
        for name in ("images.npy", "labels.npy"):
            head = {"descr": "|u1", "fortran_order": False, "shape": (10**14,)}
            text = str(head).ljust(117) + "\n"
            archive.writestr(name, b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())
    names = [*arrays, "not-a-zip", "empty", "no-arrays", "lies-about-its-shape", "not-there"]
    uses = {name: json.dumps({"use": "npz", "path": str(folder / f"{name}.npz")}) for name in names}
    return {f"archive-{name}": ["digits", "--set", f"source={use}"] for name, use in uses.items()}
