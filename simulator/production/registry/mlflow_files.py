"""The files of an MLflow store by their address: fetched, removed, and brought onto the disk where they lie on ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import final
from urllib.parse import unquote, urlsplit

__all__ = ["Files"]


@final
class Files:
    """Artifacts of the store at `uri`. Every method raises what MLflow and the storage raise."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def fetch(self, address: str, folder: str) -> Path:
        """Return a copy, below `folder`, of the artifact at `address`."""
        from mlflow.artifacts import download_artifacts

        return Path(download_artifacts(artifact_uri=address, dst_path=folder, tracking_uri=self._uri))

    def remove(self, address: str) -> None:
        """Delete what is at `address`; a kind of storage that cannot delete keeps it."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        try:
            get_artifact_repository(address, tracking_uri=self._uri).delete_artifacts()
        except (NotImplementedError, FileNotFoundError):
            return

    def sync(self, address: str) -> None:
        """Have the files at `address` reach the disk; nothing where another process keeps them.

        What is committed about them is synchronous: without this, a loss of power could leave a commit and no file.
        """
        parts = urlsplit(address)
        if parts.scheme not in ("", "file"):
            return
        place = Path(unquote(parts.path))
        for path in [place, *place.rglob("*"), *place.parents[:2]]:
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
