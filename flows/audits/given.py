"""The images that an audit is given, and whether they are such as a model takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from defenses.base import Rows
from flows.audits.order import AuditOrder
from simulator.errors import ScenarioError
from simulator.production.auditing.auditor import Material
from simulator.world.sources.labelled import Labelled, read_images, read_labelled

if TYPE_CHECKING:
    from simulator.production.registry.mlflow.model_reader import Readable


@final
@dataclass(frozen=True, slots=True)
class Given:
    """What is in the files of images that an order names."""

    trusted: Labelled | None
    images: Labelled | None

    @staticmethod
    def read(order: AuditOrder) -> Given:
        """Read the files, or raise `SourceError`."""
        return Given(
            None if order.trusted is None else read_labelled(order.trusted, "--trusted"),
            None if order.images is None else read_images(order.images, "--images"),
        )

    @property
    def material(self) -> Material:
        """The images as auditors are given them."""
        trusted = None if self.trusted is None else Rows(self.trusted.images, self.trusted.labels)
        return Material(trusted, None if self.images is None else self.images.images)

    def expect_to_fit(self, readable: Readable) -> None:
        """Raise `ScenarioError` where a model does not take these images, or has fewer classes."""
        architecture, uri = readable.architecture, readable.stored.uri
        for given in filter(None, (self.trusted, self.images)):
            if tuple(given.images.shape[1:]) != architecture.images:
                raise ScenarioError(
                    f"expected the images in {given.name} to be {architecture.images} (C, H, W) as '{uri}' takes "
                    f"them, got {tuple(given.images.shape[1:])}; resize them"
                )
        if self.trusted is not None and int(self.trusted.labels.max()) >= architecture.classes:
            raise ScenarioError(
                f"expected the labels in {self.trusted.name} to be from 0 to {architecture.classes - 1}, the classes "
                f"of '{uri}', got {int(self.trusted.labels.max())}; number them as the model does"
            )

    def told(self) -> dict[str, Any]:
        """Return what is said of the images beside a finding."""
        given = {"trusted": self.trusted, "images": self.images}
        return {
            name: {"file": Path(one.name).name, "sha256": one.digest, "rows": len(one.labels)}
            for name, one in given.items()
            if one is not None
        }
