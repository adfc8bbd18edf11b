"""CPU kernels for what torch's own are slow at: few channels, channels last, one thread (docs/decisions/0007)."""

#: BatchNorm's statistics, one row of channels each in this order, kept for the gradients. `slope` x input + `offset` is
#: the normalised value.
ROWS = ("mean", "invstd", "slope", "offset")
