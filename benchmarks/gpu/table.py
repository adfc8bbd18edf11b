"""The report of the GPU measurements, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def table(found: Mapping[str, Any]) -> str:
    """Return the report of `measure` as lines, with reasons for what was not measured."""
    return "\n".join([*_about(found), "", *_timelines(found), "", *_training(found), "", *_residual(found)])


def _about(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['device']}, torch {found['torch']}" + (", tiny: these figures say nothing" if found["tiny"] else "")
    for name, peak in found["peaks"].items():
        unit, scale = ("GB/s", 1e9) if name == "copy" else ("TFLOP/s", 1e12)
        yield f"  peak {name:8}  " + ("not measured" if peak is None else f"{peak / scale:,.2f} {unit}")
    for name, reason in found["not_measured"].items():
        yield f"  {name} not measured: {reason}"


def _timelines(found: Mapping[str, Any]) -> Iterator[str]:
    played = found["timelines"]
    yield f"{played['timelines']} standard timelines"
    for name, way in played["ways"].items():
        apart = f" in {way['processes']} processes" if way["processes"] > 1 else ""
        starting = f", of which {way['starting_seconds']:.1f} until all had begun" if apart else ""
        yield (
            f"  {name:18} {way['seconds_a_timeline']:8.2f} s a timeline; {way['timelines']}{apart} in "
            f"{way['seconds']:.1f} s{starting}, {way['images_per_second']:,.0f} images/s trained{_device_share(way)}"
        )
    yield _ratio("times the throughput of one after another, the best cohort", played, "at least")
    apart = ", ".join(f"{name} {value:.4f}" for name, value in played["differences"].items())
    yield f"  greatest difference of a reading: {apart}"


def _training(found: Mapping[str, Any]) -> Iterator[str]:
    training = found["training"]
    yield (
        f"their base training by itself: {training['flops_per_image'] / 1e6:.2f} MFLOP and "
        f"{training['bytes_per_image'] / 1e6:.2f} MB an image"
    )
    for name, mine in training["ways"].items():
        shares = ", ".join(f"{100 * share:.2g} % of {peak}" for peak, share in mine["share_of_peak"].items())
        yield (
            f"  {name:19} {mine['seconds']:8.2f} s, {mine['images_per_second']:,.0f} images/s, "
            f"{mine['flops_per_second'] / 1e12:.3f} TFLOP/s, {mine['bytes_per_second'] / 1e9:,.1f} GB/s"
            f"{_device_share(mine)}"
        )
        yield f"  {'':19} {mine['times_roofline']:.1f} times the roofline; {shares}"


def _residual(found: Mapping[str, Any]) -> Iterator[str]:
    residual = found["resnet18"]
    yield f"ResNet-18 at 32 x 32, {residual['precision']}, batches of {residual['batch']}"
    yield f"  {'fit':18} {residual['ours']:12,.0f} images/s{_device_share({**residual, 'utilisation': None})}"
    if residual["ours_unrecorded"] is not None:
        yield f"  {'fit, unrecorded':18} {residual['ours_unrecorded']:12,.0f} images/s"
    for name, rate in residual["plain"].items():
        yield f"  {'plain, ' + name:18} {rate:12,.0f} images/s"
    for name, reason in residual["not_measured"].items():
        yield f"  {'plain, ' + name:18} not measured: {reason}"
    yield _ratio("times the best plain recipe's time", residual, "at most")


def _ratio(words: str, found: Mapping[str, Any], bound: str) -> str:
    return f"  {found['ratio']:.2f} {words}; to be {bound} {found['target']:g}"


def _device_share(cost: Mapping[str, Any]) -> str:
    memory, busy = cost["peak_memory_bytes"], cost["utilisation"]
    parts = [] if memory is None else [f"{memory / 2**30:.2f} GiB at most"]
    return "".join(f", {part}" for part in [*parts, *([] if busy is None else [f"busy {100 * busy:.0f} %"])])
