"""What triggers look like: an image of the source, its stamped copy, and what the stamp has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from simulator.errors import ScenarioError
from simulator.observer.report.style import as_svg
from simulator.production.training.surrogate import surrogate_trainer
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import resolved_arms
from simulator.world.sources.base import SourceData
from simulator.world.world import World, load_source

#: endings of the files that a picture can be written to
FORMATS = (".png", ".svg")

_INCHES = 2.2  # of an image's side
_LETTERS = 36  # that fit beside it
_DOTS = 150  # an inch, in a .png file
_STYLE: dict[Any, Any] = {"font.family": ["DejaVu Sans"], "font.size": 9, "text.parse_math": False}


@dataclass(frozen=True, slots=True)
class Trigger:
    """An attack at work: what it is called, and one image (C, H, W) in [0, 1] without and with its trigger.

    `measured`: what an attack that trains a surrogate found out when it did, by name.
    """

    title: str
    image: Tensor
    stamped: Tensor
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def change(self) -> Tensor:
        """The absolute change of each pixel (C, H, W), in [0, 1]."""
        return (self.stamped - self.image).abs()


def triggers_of(scenario: Scenario) -> tuple[Trigger, ...]:
    """Return a trigger for every attack of the scenario's arms, in their order; arms with the same attack share one.

    The image is the first test image of period 0 that is of a source class of the attack. Raises `ScenarioError` when
    no arm has an attack, or when the scenario cannot be played.
    """
    arms: dict[str, list[str]] = {}
    mine = resolved_arms(scenario)
    for name, arm in mine.items():
        if arm.attack.use != "none":
            arms.setdefault(arm.attack.model_dump_json(), []).append(name)
    if not arms:
        raise ScenarioError(
            f"expected scenario '{scenario.name}' to have an attack whose trigger can be drawn, got none; "
            "choose an attack, such as attack: {use: patch}"
        )
    data = load_source(scenario.source)
    return tuple(_trigger(mine[names[0]], data, names) for names in arms.values())


def trigger_picture(triggers: Sequence[Trigger]) -> Figure:
    """Return a row for each of `triggers`: image, stamped copy, and the change, brightest where it is largest."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(3 * _INCHES + 0.4, len(triggers) * (_INCHES + 0.35)), layout="constrained")
        for axes, trigger in zip(figure.subplots(len(triggers), 3, squeeze=False), triggers, strict=True):
            _draw(axes[0], trigger.image, "image")
            _draw(axes[1], trigger.stamped, "stamped")
            largest = float(trigger.change.max())
            _draw(axes[2], trigger.change / (largest or 1.0), f"change, at most {largest:.2f}")
            axes[0].set_ylabel(trigger.title)
    return figure


def write_picture(figure: Figure, path: Path) -> None:
    """Write the figure to `path`, whose ending is one of `FORMATS`; the same figure gives the same file."""
    if path.suffix == ".svg":
        path.write_text(as_svg(figure), encoding="utf-8")
    else:
        figure.savefig(path, format="png", dpi=_DOTS, metadata={"Software": None})


def _trigger(arm: Scenario, data: SourceData, names: Sequence[str]) -> Trigger:
    world = World.build(arm, data, attacked=False, device="cpu", teach=surrogate_trainer(arm, data.classes))
    labels = world.test(0).labels
    shown = world.attack.of_source(labels)
    if not bool(shown.any()):
        raise ScenarioError(
            f"expected a test image of a source class of attack '{arm.attack.use}', got none; raise stream.test"
        )
    row = int(shown.nonzero()[0])
    return Trigger(
        title=_title(arm.attack.use, world.class_names[int(world.attack.targets_of(labels[row]))], names),
        image=world.test(0).images[row],
        stamped=world.stamped(0)[row],
        measured=world.attack.measured,
    )


def _title(use: str, target: str, names: Sequence[str]) -> str:
    """Return the attack's name (of `module:Name` the latter) and target, below the arms that it is of."""
    lines = [f"{use.rpartition(':')[2]} → {target}"]
    if list(names) != ["main"]:
        lines.insert(0, ", ".join(names))
    return "\n".join(line if len(line) <= _LETTERS else f"{line[: _LETTERS - 1]}…" for line in lines)


def _draw(axis: Axes, image: Tensor, title: str) -> None:
    pixels = image.permute(1, 2, 0).numpy()
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title)
    axis.set_xticks([])
    axis.set_yticks([])
