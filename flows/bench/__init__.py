"""`ebbdoor bench`: the standard timeline, timed by stage, beside the bare torch loop of the same work."""

from flows.bench.measure import measure
from flows.bench.pairs import measure_pairs
from flows.bench.table import print_measured, print_pairs
from simulator.bench.standard import STANDARD

__all__ = ["STANDARD", "measure", "measure_pairs", "print_measured", "print_pairs"]
