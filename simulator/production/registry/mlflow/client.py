"""A client of one MLflow store: its API, its files, and its failures as sentences."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final
from urllib.parse import unquote, urlsplit

from simulator.errors import StoreError, StoreUnavailableError
from simulator.production.registry.addresses import expect_own_folder, expect_same_server, shown_address
from simulator.production.registry.database import is_database, without_secret
from simulator.production.registry.environment import prepare_environment
from simulator.system.files import sync
from simulator.system.startup import importing

_PATIENCE = 5.0  # seconds for a server to accept a connection

#: MLflow's codes for what stays as it is however often it is asked. `BAD_REQUEST` is not among them: MLflow also gives
#: it to whatever its database layer raises, a lost connection included, and we make no malformed request.
_REFUSALS = frozenset({
    "CUSTOMER_UNAUTHORIZED", "ENDPOINT_NOT_FOUND", "FEATURE_DISABLED", "INVALID_PARAMETER_VALUE", "INVALID_STATE",
    "NOT_FOUND", "NOT_IMPLEMENTED", "PERMISSION_DENIED", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
})  # fmt: skip


@final
class Store:
    """One MLflow store: `client` speaks to it with explicit run ids only, so no active run is ever made or used.

    `artifacts` is where a new experiment of ours keeps its files, as an address; None leaves it to the store.
    Raises `StoreError` within seconds when there is no such store. `client` and `files` replace those that speak
    to `uri`.
    """

    def __init__(self, uri: str, artifacts: str | None = None, *, client: Any = None, files: Any = None) -> None:
        prepare_environment()
        self.uri = uri
        self.artifacts = artifacts
        self.client: Any = client
        self._files: Any = files or Files(uri)
        #: logged models whose removal was begun: the request that marks one may arrive after it was given up
        self.removing: set[str] = set()
        self._addresses: dict[str, str] = {}  # of the artifacts of runs, which never change
        if client is not None:
            return
        _check_reachable(uri, self.shown)
        with self.explaining("open"), importing():
            from mlflow import MlflowClient

            self.client = MlflowClient(uri, registry_uri=uri)

    @property
    def is_server(self) -> bool:
        """Whether the store is an MLflow server, rather than its database."""
        return urlsplit(self.uri).scheme in ("http", "https")

    @property
    def shown(self) -> str:
        """The address without user name and password."""
        return shown_address(self.uri)

    @contextmanager
    def explaining(self, deed: str) -> Iterator[None]:
        """Turn whatever MLflow and its transports raise in the block into a `StoreError` that names the store.

        It is a `StoreUnavailableError` when asking again may help.
        """
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if not is_of_store(error):
                raise
            reason = without_secret(str(error), self.uri) or type(error).__name__
            kind = StoreUnavailableError if may_pass(error) else StoreError
            raise kind(
                f"expected the MLflow store at {self.shown} to {deed}, got: {reason}; what was committed is kept: "
                "see that the store answers, then resume"
            ) from error

    def read_text(self, run_id: str, path: str) -> str:
        """Return a run's text artifact; what is torn comes back torn."""
        with TemporaryDirectory() as folder, self.explaining(f"give {path}"):
            return self.read(run_id, path, folder).read_text(encoding="utf-8", errors="replace")

    def read(self, run_id: str, path: str, folder: str) -> Path:
        """Return a copy, below `folder`, of a run's artifact.

        It is fetched by its address: asked for by its run, MLflow calls an artifact missing whenever it cannot have it.
        """
        with self.explaining(f"give {path}"):
            address = self._address(run_id)
        return self.fetch(f"{address}/{path}", folder)

    def write_text(self, run_id: str, text: str, path: str) -> None:
        """Keep a run's text artifact, on the disk where the store's files are on ours."""
        with self.explaining(f"keep {path}"):
            expect_same_server(self._address(run_id), self.uri)
            self.client.log_text(run_id, text, path)
            self._files.sync(f"{self._address(run_id)}/{path}")

    def write_file(self, run_id: str, path: Path) -> None:
        """Keep a copy of a file as a run's artifact of the same name."""
        with self.explaining(f"keep {path.name}"):
            self.expect_here(self._address(run_id))
            self.client.log_artifact(run_id, str(path))

    def keep_beside(self, model_id: str, address: str, path: Path, folder: str) -> None:
        """Keep a copy of a file in `folder` among the files of a logged model, which lie at `address`."""
        with self.explaining(f"keep {path.name}"):
            self.expect_here(address)
            self.client.log_model_artifact(model_id, str(path), folder)
            self.sync(f"{address}/{folder}/{path.name}")

    def expect_here(self, address: str) -> None:
        """Raise `StoreError` unless what is sent to `address`, which the store gave, stays with the store's server."""
        expect_same_server(address, self.uri)

    def sync(self, address: str) -> None:
        """Have the files at `address` reach the disk, where they are on ours."""
        with self.explaining(f"keep {address}"):
            self._files.sync(address)

    def fetch(self, address: str, folder: str) -> Path:
        """Return a copy, below `folder`, of the artifact at `address`."""
        with self.explaining(f"give {address}"):
            return Path(self._files.fetch(address, folder))

    def names(self, address: str) -> list[str]:
        """Return the names of what lies in the folder of artifacts at `address`; `explaining` is the caller's."""
        return list(self._files.names(address))

    def expect_own(self, address: str, owner: str) -> None:
        """Raise `StoreError` when the artifacts at `address` cannot be those of the run or logged model `owner`."""
        ours = self.artifacts is not None and not is_database(self.uri)  # a database may serve several workspaces
        expect_own_folder(address, owner, self.artifacts if ours else None)

    def remove_files(self, address: str, owner: str) -> None:
        """Delete the artifacts of `owner` at `address`; a kind of storage that cannot delete keeps them."""
        self.expect_own(address, owner)
        with self.explaining(f"remove {address}"):
            self._files.remove(address)

    def create(self, function: Any, *arguments: Any, **options: Any) -> bool:
        """Call a creation of the client; return False when the name is given already, by another or earlier request."""
        return self._is_done(lambda: function(*arguments, **options), unless="RESOURCE_ALREADY_EXISTS")

    def delete(self, function: Any, *arguments: Any) -> None:
        """Call a deletion of the client. What is no longer there is deleted: an earlier request may have arrived."""
        self._is_done(lambda: function(*arguments), unless="RESOURCE_DOES_NOT_EXIST")

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

    def _is_done(self, request: Callable[[], object], *, unless: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            request()
        except MlflowException as error:
            if error.error_code != unless:
                raise
            return False
        return True

    def _address(self, run_id: str) -> str:
        """Return the address of a run's artifacts."""
        if run_id not in self._addresses:
            self._addresses[run_id] = self.client.get_run(run_id).info.artifact_uri
        return self._addresses[run_id]


@final
class Files:
    """Artifacts of the store at `uri`. Every method raises what MLflow and the storage raise."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def fetch(self, address: str, folder: str) -> Path:
        """Return a copy, below `folder`, of the artifact at `address`."""
        from mlflow.artifacts import download_artifacts

        expect_same_server(address, self._uri)
        return Path(download_artifacts(artifact_uri=address, dst_path=folder, tracking_uri=self._uri))

    def names(self, address: str) -> list[str]:
        """Return the names of what lies in the folder at `address`, none where there is no such folder."""
        from mlflow.artifacts import list_artifacts

        expect_same_server(address, self._uri)
        found = list_artifacts(artifact_uri=address, tracking_uri=self._uri)
        return [file.path.rpartition("/")[2] for file in found]

    def remove(self, address: str) -> None:
        """Delete what is at `address`; a kind of storage that cannot delete keeps it."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        expect_same_server(address, self._uri)
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
        top = Path(unquote(parts.path))
        for path in [top, *top.rglob("*"), *top.parents[:2]]:
            sync(path)


def is_of_store(error: Exception) -> bool:
    """Whether MLflow, its transports, its database layer or its storage raised `error`."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError
    from urllib3.exceptions import HTTPError

    kinds = MlflowException | RequestException | HTTPError | SQLAlchemyError | OSError | JSONDecodeError
    return isinstance(error, kinds)


def may_pass(error: Exception) -> bool:
    """Whether asking again may help: after a lost connection, a time limit, HTTP 429 and 5xx, a locked database, a full
    disk, storage that cannot be written to, an answer cut short. Not after a refusal, nor when a file is not there.
    """
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code not in _REFUSALS
    return not isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError)


def _check_reachable(uri: str, shown: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE).close()
    except OSError as error:
        raise StoreError(
            f"expected an MLflow server to answer at {shown}, got none ({error}); start it (`ebbdoor up`), "
            "or unset MLFLOW_TRACKING_URI to use the workspace's own store"
        ) from error
