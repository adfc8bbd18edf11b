"""The kernels: BatchNorm, max-pool by two and ReLU in one, forward and backward, rounding where torch rounds.

Sums run over the pixels in their order, as in torch's channels-last kernels on one thread (ATen,
`batch_norm_kernel.cpp`), and products are contracted where torch contracts them. Nothing is stored between the passes
over the images: each pass computes again from BatchNorm's input what a window of 2 x 2 pixels gives.
"""

from __future__ import annotations

from llvmlite import ir

from simulator.production.training.kernels import ROWS
from simulator.production.training.kernels.images import Images, Window
from simulator.production.training.kernels.lanes import DOUBLE, INT, POINTER, Lanes


def module(channels: int) -> ir.Module:
    """Return the kernels for `channels` channels: `batch_statistics`, `running_statistics`, `forward`, `backward`."""
    code = ir.Module(f"halving{channels}")
    for program in (_batch_statistics, _running_statistics, _forward, _backward):
        program(code, channels)
    return code


def _batch_statistics(code: ir.Module, channels: int) -> None:
    """Store `ROWS` from the mean and variance of a batch, and update the running ones."""
    k = Lanes(code, "batch_statistics", [POINTER] * 4 + [DOUBLE] * 2 + [POINTER, INT, POINTER], channels)
    weight, bias, running_mean, running_variance, epsilon, rate, inputs, pixels, rows = k.arguments
    b, momentum, count = k.build, k.spread(rate), k.count(pixels)
    mean = k.narrow(b.fdiv(k.wide(_total(k, inputs, pixels)), count))
    squares = _squares(k, inputs, pixels, mean)
    variance = k.wide(b.fdiv(squares, k.narrow(count)))
    invstd = k.narrow(b.fdiv(k.wide(k.number(1.0)), k.root(b.fadd(variance, k.exactly(epsilon)))))
    kept = b.fsub(k.number(1.0), momentum)
    k.store(b.fadd(b.fmul(momentum, mean), b.fmul(kept, k.load(running_mean))), running_mean)
    unbiased = k.wide(b.fdiv(squares, k.narrow(k.count(b.sub(pixels, INT(1))))))
    before = k.wide(b.fmul(kept, k.load(running_variance)))
    k.store(k.narrow(b.fadd(b.fmul(k.wide(momentum), unbiased), before)), running_variance)
    _store_rows(k, weight, bias, mean, invstd, rows)
    k.end()


def _running_statistics(code: ir.Module, channels: int) -> None:
    """Store `ROWS` from the running mean and variance."""
    k = Lanes(code, "running_statistics", [POINTER] * 4 + [DOUBLE, POINTER], channels)
    weight, bias, running_mean, running_variance, epsilon, rows = k.arguments
    spread = k.root(k.build.fadd(k.load(running_variance), k.spread(epsilon)))
    _store_rows(k, weight, bias, k.load(running_mean), k.build.fdiv(k.number(1.0), spread), rows)
    k.end()


def _store_rows(k: Lanes, weight: ir.Value, bias: ir.Value, mean: ir.Value, invstd: ir.Value, rows: ir.Value) -> None:
    slope = k.build.fmul(invstd, k.load(weight))
    offset = k.fma(k.build.fneg(mean), slope, k.load(bias))
    found = {"mean": mean, "invstd": invstd, "slope": slope, "offset": offset}
    for number, name in enumerate(ROWS):
        k.store(found[name], rows, INT(number))


def _total(k: Lanes, inputs: ir.Value, pixels: ir.Value) -> ir.Value:
    total = k.variable(k.number(0.0))
    with k.each(pixels) as pixel:
        total.set(k.build.fadd(k.load(inputs, pixel), total.get()))
    return total.get()


def _squares(k: Lanes, inputs: ir.Value, pixels: ir.Value, mean: ir.Value) -> ir.Value:
    """Return the sum of squared distances from `mean`."""
    total = k.variable(k.number(0.0))
    with k.each(pixels) as pixel:
        distance = k.build.fsub(k.load(inputs, pixel), mean)
        total.set(k.fma(distance, distance, total.get()))
    return total.get()


def _forward(code: ir.Module, channels: int) -> None:
    """Store the largest normalised value of each window, at least 0."""
    k = Lanes(code, "forward", [POINTER] * 2 + [INT] * 3 + [POINTER], channels)
    inputs, rows, count, height, width, outputs = k.arguments
    images = Images(k, inputs, rows, count, height, width)

    def write(window: Window) -> None:
        best, _, _ = window.winner()
        k.store(k.build.select(_passes_relu(k, best), best, k.number(0.0)), outputs, window.number)

    images.row_pairs(lambda pair: images.windows(pair, write))
    k.end()


def _backward(code: ir.Module, channels: int) -> None:
    """Store the gradients of inputs, weight and bias, from those of the outputs."""
    k = Lanes(code, "backward", [POINTER] * 2 + [INT] * 3 + [POINTER] * 5, channels)
    inputs, rows, count, height, width, gradients, weight, to_inputs, to_weight, to_bias = k.arguments
    images, b = Images(k, inputs, rows, count, height, width), k.build
    mean, invstd, scale = images.rows["mean"], images.rows["invstd"], k.load(weight)
    total, product = _sums(k, images, gradients)
    pixels = k.narrow(k.count(images.pixels))
    average = b.fdiv(total, pixels)
    share = b.fdiv(b.fmul(b.fmul(product, invstd), invstd), pixels)

    def write(pixel: ir.Value, arriving: ir.Value) -> None:
        distance = b.fsub(k.load(inputs, pixel), mean)
        left = k.fma(b.fneg(distance), share, b.fsub(arriving, average))
        k.store(b.fmul(b.fmul(left, invstd), scale), to_inputs, pixel)

    def spread(window: Window) -> None:
        best, place, _ = window.winner()
        arriving = b.select(_passes_relu(k, best), k.load(gradients, window.number), k.number(0.0))
        for number, pixel in enumerate(window.pixels):
            write(pixel, b.select(b.icmp_signed("==", place, k.integer(number)), arriving, k.number(0.0)))

    images.row_pairs(lambda pair: images.windows(pair, spread))
    images.left_over(lambda pixel: write(pixel, k.number(0.0)))
    k.store(b.fmul(product, invstd), to_weight)
    k.store(total, to_bias)
    k.end()


def _sums(k: Lanes, images: Images, gradients: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Return the sum of the gradients of BatchNorm's outputs, and of these times the input's distance from the mean.

    In the order of the pixels: of two rows the upper one first. Pixels that did not win their window would add 0.
    """
    b, total, product = k.build, k.variable(k.number(0.0)), k.variable(k.number(0.0))

    def row(window: Window, side: str) -> None:
        best, place, origin = window.winner()
        passes = b.and_(b.icmp_signed(side, place, k.integer(2)), _passes_relu(k, best))
        arriving = b.select(passes, k.load(gradients, window.number), k.number(0.0))
        total.set(b.fadd(total.get(), arriving))
        product.set(k.fma(b.fsub(origin, images.rows["mean"]), arriving, product.get()))

    def rows(pair: ir.Value) -> None:
        images.windows(pair, lambda window: row(window, "<"))
        images.windows(pair, lambda window: row(window, ">="))

    images.row_pairs(rows)
    return total.get(), product.get()


def _passes_relu(k: Lanes, best: ir.Value) -> ir.Value:
    """Return where ReLU passes its input on: above 0, and NaN."""
    return k.build.fcmp_unordered(">", best, k.number(0.0))
