"""Overrides of a scenario's keys: as `KEY=VALUE` texts on a command line, as a mapping in a form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def with_options(texts: Sequence[str], *, seed: int | None = None, device: str | None = None) -> list[str]:
    """Return the overrides and, after them so that they win, those of options of their own."""
    own = [] if seed is None else [f"seed={seed}"]
    return [*texts, *own, *([] if device is None else [f"device={device}"])]


def as_mapping(texts: Sequence[str]) -> dict[str, Any]:
    """Return overrides, already checked, as a mapping; a later one of a key wins."""
    from simulator.scenario.text import parse

    parts = (text.partition("=") for text in texts)
    return {key.strip(): parse(value, key) for key, _, value in parts}


def as_texts(mapping: Mapping[str, Any]) -> list[str]:
    """Return a mapping as `KEY=VALUE` texts; JSON is YAML."""
    return [f"{key}={json.dumps(value)}" for key, value in mapping.items()]
