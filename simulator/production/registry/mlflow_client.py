"""A client of one MLflow store, and its failures as sentences."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final
from urllib.parse import urlsplit

from simulator.errors import StoreError
from simulator.production.registry.database import is_database, shown_database, without_secret
from simulator.production.registry.environment import prepare_environment

__all__ = ["Store"]

_PATIENCE = 5.0  # seconds for a server to accept a connection


@final
class Store:
    """One MLflow store: `client` speaks to it with explicit run ids only, so no active run is ever made or used.

    `artifacts` is where a new experiment of ours keeps its files, as an address; None leaves it to the store.
    Raises `StoreError` within seconds when there is no such store.
    """

    def __init__(self, uri: str, artifacts: str | None = None) -> None:
        prepare_environment()
        self.uri = uri
        self.artifacts = artifacts
        _check_reachable(uri, self.shown)
        with self.explaining("open"):
            from mlflow import MlflowClient

            self.client: Any = MlflowClient(uri, registry_uri=uri)

    @property
    def is_server(self) -> bool:
        """Whether the store is an MLflow server, rather than its database."""
        return urlsplit(self.uri).scheme in ("http", "https")

    @property
    def shown(self) -> str:
        """The address without user name and password."""
        if is_database(self.uri):
            return shown_database(self.uri)
        parts = urlsplit(self.uri)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else self.uri

    @contextmanager
    def explaining(self, deed: str) -> Iterator[None]:
        """Turn whatever MLflow and its transports raise in the block into a `StoreError` that names the store."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if not _is_of_store(error):
                raise
            reason = without_secret(str(error), self.uri) or type(error).__name__
            raise StoreError(
                f"expected the MLflow store at {self.shown} to {deed}, got: {reason}; what was committed is kept: "
                "see that the store answers, then resume"
            ) from error

    def read_text(self, run_id: str, path: str) -> str:
        """Return a run's text artifact."""
        with self.explaining(f"give {path}"), TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run_id, path, folder)).read_text(encoding="utf-8")

    def fetch(self, address: str, folder: str) -> Path:
        """Return a copy, below `folder`, of the artifact at `address`."""
        from mlflow.artifacts import download_artifacts

        with self.explaining(f"give {address}"):
            return Path(download_artifacts(artifact_uri=address, dst_path=folder, tracking_uri=self.uri))

    def remove_files(self, address: str) -> None:
        """Delete the artifacts at `address`; a kind of storage that cannot delete keeps them."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with self.explaining(f"remove {address}"):
            try:
                get_artifact_repository(address, tracking_uri=self.uri).delete_artifacts()
            except (NotImplementedError, FileNotFoundError):
                return

    def pages(self, search: Any, *arguments: Any, **options: Any) -> list[Any]:
        """Return all results of a paged search of the client."""
        found: list[Any] = []
        token = None
        while True:
            page = search(*arguments, **options, page_token=token)
            found.extend(page)
            token = page.token
            if not token:
                return found


def _is_of_store(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, MlflowException | RequestException | SQLAlchemyError | OSError)


def _check_reachable(uri: str, shown: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE).close()
    except OSError as error:
        raise StoreError(
            f"expected an MLflow server to answer at {shown}, got none ({error}); start it (`make up`), "
            "or unset MLFLOW_TRACKING_URI to use the workspace's own store"
        ) from error
