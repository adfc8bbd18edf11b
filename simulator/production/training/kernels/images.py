"""Loops over images: pairs of rows, and in each pair windows of 2 x 2 pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from llvmlite import ir

from simulator.production.training.kernels import ROWS
from simulator.production.training.kernels.lanes import INT, Lanes


@final
class Images:
    """`count` images of `height` x `width` pixels at the address `inputs`, and the `rows` that normalise them."""

    def __init__(
        self, k: Lanes, inputs: ir.Value, rows: ir.Value, count: ir.Value, height: ir.Value, width: ir.Value
    ) -> None:
        self._k, self._inputs, self._count, self._height, self._width = k, inputs, count, height, width
        self.rows = {name: k.load(rows, INT(number)) for number, name in enumerate(ROWS)}
        self._area = k.build.mul(height, width)
        self._pairs, self._across = (k.build.lshr(size, INT(1)) for size in (height, width))
        self.pixels = k.build.mul(count, self._area)

    def row_pairs(self, visit: Callable[[ir.Value], None]) -> None:
        """Call `visit` with the number of every pair of rows, counted over all images."""
        with self._k.each(self._k.build.mul(self._count, self._pairs)) as pair:
            visit(pair)

    def windows(self, pair: ir.Value, visit: Callable[[Window], None]) -> None:
        """Call `visit` with every window of a pair of rows, from left to right."""
        b = self._k.build
        image, row = b.udiv(pair, self._pairs), b.urem(pair, self._pairs)
        corner = b.add(b.mul(image, self._area), b.mul(b.mul(row, INT(2)), self._width))
        number = b.mul(pair, self._across)
        with self._k.each(self._across) as column:
            upper = b.add(corner, b.mul(column, INT(2)))
            lower = b.add(upper, self._width)
            pixels = (upper, b.add(upper, INT(1)), lower, b.add(lower, INT(1)))
            visit(Window(self._k, b.add(number, column), pixels, self._inputs, self.rows))

    def left_over(self, visit: Callable[[ir.Value], None]) -> None:
        """Call `visit` with the number of every pixel of an odd last row or column, which no window covers."""
        b = self._k.build
        with self._k.each(self._count) as image:
            corner = b.mul(image, self._area)
            last = b.sub(self._width, INT(1))
            with self._k.each(b.and_(self._width, INT(1))), self._k.each(self._height) as row:
                visit(b.add(corner, b.add(b.mul(row, self._width), last)))
            bottom = b.add(corner, b.mul(b.sub(self._height, INT(1)), self._width))
            with self._k.each(b.and_(self._height, INT(1))), self._k.each(self._width) as column:
                visit(b.add(bottom, column))


@final
@dataclass(frozen=True, slots=True)
class Window:
    """Two by two pixels: the window's number over all images, and the numbers of its pixels, row by row."""

    k: Lanes
    number: ir.Value
    pixels: tuple[ir.Value, ...]
    inputs: ir.Value
    rows: Mapping[str, ir.Value]

    def winner(self) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Return the largest normalised value, which of the four has it (the first among equals), and its input.

        NaN is larger than everything, and the last of several wins, as in torch's max-pool.
        """
        k, b, line = self.k, self.k.build, (self.rows["slope"], self.rows["offset"])
        origin = k.load(self.inputs, self.pixels[0])
        best, place = k.fma(origin, *line), k.integer(0)
        for number, pixel in enumerate(self.pixels[1:], start=1):
            value = k.load(self.inputs, pixel)
            normalised = k.fma(value, *line)
            larger = b.fcmp_ordered(">", normalised, best)
            wins = b.or_(larger, b.fcmp_unordered("uno", normalised, normalised))
            best = b.select(wins, normalised, best)
            place = b.select(wins, k.integer(number), place)
            origin = b.select(wins, value, origin)
        return best, place, origin
