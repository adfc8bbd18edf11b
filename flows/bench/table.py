"""The results of a bench as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from simulator.bench.standard import CURVES


def print_measured(measured: Mapping[str, Any]) -> None:
    """Print seconds by stage, wall and CPU, then the curves, ours beside the bare loop's where that was played."""
    idle = measured["idle"]
    _print(["stage", "seconds", ""], [(k, f"{v:.2f}", idle.get(k, "")) for k, v in measured["seconds"].items()])
    parts = {"ebbdoor": measured} | ({"bare loop": measured["bare_loop"]} if "bare_loop" in measured else {})
    rows = [(name, f"{p['wall_seconds']:.2f}", f"{p['cpu_seconds']:.2f}") for name, p in parts.items()]
    _print(["", "wall s", "CPU s"], rows)
    _curves(list(parts.values()))


def print_pairs(measured: Mapping[str, Any]) -> None:
    """Print medians of all pairs: seconds by stage and in all, the ratio, what servers took; the first's curves."""
    played = measured["played"]
    ours = played["ebbdoor"]
    rows = {row: median(result["seconds"].get(row, 0.0) for result in ours) for row in ours[0]["seconds"]}
    kind = "CPU s" if measured["way"]["governed"] else "wall s"
    _print(["stage", kind, ""], [(row, f"{value:.2f}", ours[0]["idle"].get(row, "")) for row, value in rows.items()])
    _print(["", "CPU s", "least", "most", "wall s", "importing, CPU s"], [_row(measured, name) for name in played])
    if measured["ratio"] is not None:
        values = [f"{measured['ratio'][name]:.2f}" for name in ("median", "min", "max")]
        compared = "of portable against native" if measured["way"]["portable"] else "against the bare loop"
        _print([f"CPU s {compared}", "least", "most"], [values])
    if measured["way"]["governed"]:
        _print(["beside it", "seconds", ""], _beside(measured))
    _curves([results[0] for results in played.values()], "portable" if measured["way"]["portable"] else "bare")


def _row(measured: Mapping[str, Any], name: str) -> list[str]:
    cpu, results = measured["cpu_seconds"][name], measured["played"][name]
    beside = [median(result[key] for result in results) for key in ("wall_seconds", "import_cpu_seconds")]
    return [name, *(f"{value:.2f}" for value in (cpu["median"], cpu["min"], cpu["max"], *beside))]


def _beside(measured: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    ours = measured["played"]["ebbdoor"]
    names = [name for name in ours[0]["servers"] if ours[0]["servers"][name] is not None]
    servers = [(f"{name} server", median(result["servers"][name] for result in ours)) for name in names]
    startup = median(result["startup_seconds"] for result in ours)
    return [
        *((name, f"{value:.2f}", "CPU s, in no other number") for name, value in servers),
        ("start-up", f"{startup:.2f}", "wall s until the first period, with both servers running"),
        (
            "servers' start",
            f"{measured['servers_start_seconds']:.2f}",
            "wall s until both answer, over existing stores",
        ),
    ]


def _curves(parts: Sequence[Mapping[str, Any]], other: str = "bare") -> None:
    curves = zip(*(part[name] for part in parts for name in CURVES), strict=True)
    columns = ["update", "clean", "ASR", f"{other} clean", f"{other} ASR"][: 1 + 2 * len(parts)]
    _print(columns, [(str(at), *(_share(value) for value in row)) for at, row in enumerate(curves)])


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from flows.commands.output import print_table

    print_table(columns, [dict(zip(columns, row, strict=True)) for row in rows])


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
