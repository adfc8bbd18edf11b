"""Addresses of stores and of their artifacts: shown without their secrets, and none that leads to another server."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from simulator.errors import StoreError
from simulator.production.registry.database import is_database, shown_database

#: schemes at which MLflow's clients send the user's MLflow credentials to the host in the address
_WITH_CREDENTIALS: Final = ("http", "https", "mlflow-artifacts", "ftp", "sftp")

#: schemes of MLflow's that name a run or a model, and so whatever address a store gives of it
_INDIRECT: Final = ("runs", "models")


def shown_address(address: str) -> str:
    """Return the address of a store without user name and password."""
    if is_database(address):
        return shown_database(address)
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else address


def expect_same_server(artifact: str, store: str) -> None:
    """Raise `StoreError` when an artifact's address, which the store at `store` gave, leads to another server.

    Whoever wrote the store chose it, and the user's name and password would be sent there.
    """
    parts = urlsplit(artifact)
    if parts.scheme in _INDIRECT:
        raise StoreError(
            f"expected the artifacts of the MLflow store at {shown_address(store)} to have an address, got "
            f"'{artifact}', which may lead to another server; nothing was sent to it, ask whoever gave you the store"
        )
    if parts.scheme not in _WITH_CREDENTIALS or not parts.hostname:  # without a host: the store's own server
        return
    if (parts.hostname, parts.port) != (urlsplit(store).hostname, urlsplit(store).port):
        raise StoreError(
            f"expected the artifacts of the MLflow store at {shown_address(store)} to lie there, got "
            f"{shown_address(artifact)}, another server; nothing was sent to it, ask whoever gave you the store"
        )


def expect_own_folder(artifacts: str, owner: str, root: str | None) -> None:
    """Raise `StoreError` when the files at `artifacts` are of this machine, and not those of the store's `owner`.

    `owner` is the id of a run or a logged model: MLflow keeps its files in a folder `<owner>/artifacts`. `root` is
    where the store keeps all its files, where we chose that. Whoever wrote the store could name any folder of a user's.
    """
    parts = urlsplit(artifacts)
    if parts.scheme not in ("", "file"):
        return
    folder = Path(unquote(parts.path))
    if not folder.exists():
        return
    real = folder.resolve()
    own = real.parts[-2:] == (owner, "artifacts")
    if own and (root is None or real.is_relative_to(Path(unquote(urlsplit(root).path)).resolve())):
        return
    where = "" if root is None else f" below {unquote(urlsplit(root).path)}"
    raise StoreError(
        f"expected the files of '{owner}' to lie in its own folder{where}, got {real}, which the store names; nothing "
        "there is removed: move what is yours away, or ask whoever gave you the store"
    )
