"""Two arms, paired by seed: what the seed fixes (base data, batch order) is the same in both and cancels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Pairs", "pair_by_seed"]

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Pairs(Generic[Value]):
    """Values of two arms, row by row of the same seed, by rising seed; `left_out` lacked a value in one of them."""

    seeds: tuple[int, ...]
    one: tuple[Value, ...]
    other: tuple[Value, ...]
    left_out: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.seeds)


def pair_by_seed(one: Mapping[int, Value | None], other: Mapping[int, Value | None]) -> Pairs[Value]:
    """Return the pairs of two arms, each a mapping from seed to value; None is undefined (not planted, not measured).

    A pair with an undefined value is left out, and counted. Raises `ValueError` unless both arms ran the same seeds.
    """
    if one.keys() != other.keys():
        alone = sorted(one.keys() ^ other.keys())
        raise ValueError(f"expected both arms to have run the same seeds, got {alone} in one only; run them in both")
    values = {seed: (one[seed], other[seed]) for seed in sorted(one)}
    whole = {seed: (a, b) for seed, (a, b) in values.items() if a is not None and b is not None}
    return Pairs(
        seeds=tuple(whole),
        one=tuple(a for a, _ in whole.values()),
        other=tuple(b for _, b in whole.values()),
        left_out=tuple(seed for seed in values if seed not in whole),
    )
