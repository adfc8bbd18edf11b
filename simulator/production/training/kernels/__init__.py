"""Machine code of our own for what torch's kernels take long over: few channels, channels last, one thread."""

#: What normalises a map and is kept for the gradients: a row of channels each, in this order. `slope` x input +
#: `offset` is the normalised value.
ROWS = ("mean", "invstd", "slope", "offset")
