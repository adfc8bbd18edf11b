"""A model that is audited: what rebuilds its network, its weights, and its place among the versions before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

from pydantic import Field, ValidationError
from torch import Tensor

from simulator.errors import ScenarioError
from simulator.records import Value
from simulator.scenario.catalog import is_third_party, names
from simulator.scenario.model import Use
from simulator.scenario.sentences import sentences

Side = Annotated[int, Field(ge=1, le=4096)]


class Architecture(Value):
    """What rebuilds a network: the keys of a version's `architecture.json`."""

    network: Use
    channels: Annotated[int, Field(ge=1, le=1024)]
    size: tuple[Side, Side]
    classes: Annotated[int, Field(ge=2, le=100_000)]

    @property
    def images(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that it takes."""
        return (self.channels, *self.size)

    @staticmethod
    def read(values: Any, where: str) -> Architecture:
        """Return the architecture in JSON `values`, or raise `ScenarioError`; `where` says what holds them.

        >>> Architecture.read({"network": "resnet20", "channels": 3, "size": [32, 32], "classes": 10}, "it").images
        (3, 32, 32)
        """
        if not isinstance(values, Mapping):
            raise ScenarioError(
                f"expected {where} to hold the keys network, channels, size and classes, got {type(values).__name__}; "
                "write them as JSON"
            )
        given = dict(values)
        if isinstance(given.get("network"), str):
            given["network"] = {"use": given["network"]}
        try:
            found = Architecture.model_validate(given)
        except ValidationError as error:
            told = sentences(error, given, Architecture)
            raise ScenarioError("\n".join(f"{where}: {line}" for line in told)) from error
        if _is_no_network_of_ours(found.network.use):  # whoever wrote the file could have a pickle read
            raise ScenarioError(f"{where}: expected network to be a network, got '{found.network.use}'; name another")
        return found


def _is_no_network_of_ours(use: str) -> bool:
    """Whether `use` is the path of something of ebbdoor's that is not among its networks."""
    return ":" in use and not is_third_party("networks", use) and use not in names("networks").values()


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a model stands: fields as of a `PastVersion`, but `served`, whether it ever did (as far as is known)."""

    ordinal: int = 0
    parent: int | None = None
    period: int = 0
    served: bool = True


@final
@dataclass(frozen=True, slots=True)
class Model:
    """A model at hand. `name` is how a sentence names it; `folders` hold modules of its own that its network needs."""

    name: str
    architecture: Architecture
    weights: Mapping[str, Tensor]
    place: Place
    folders: tuple[Path, ...] = ()
