"""A PostgreSQL address that leads nowhere: a sentence in seconds, and never the password."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

import simulator.production.registry.database as database
from simulator.errors import StoreError, StoreUnavailableError
from simulator.production.registry.open import open_stores

SECRET = "s3same/öffne"
ADDRESS = "postgresql://ann:s3same%2F%C3%B6ffne@127.0.0.1:{port}/runs?sslmode=disable"


@pytest.fixture
def nobody() -> str:
    """The address of a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return ADDRESS.format(port=probe.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ann:pw@db.example:5432/runs", "postgresql://db.example:5432/runs"),
        ("postgresql+psycopg2://ann@db/runs?sslmode=require", "postgresql+psycopg2://db/runs"),
        ("postgresql://ann:p@w/or?d@db/runs", "postgresql://db/runs"),
        ("postgresql:///runs?host=/run/db&user=ann&password=pw", "postgresql:///runs"),
    ],
)
def test_an_address_is_shown_without_user_password_and_options(address: str, shown: str) -> None:
    assert database.shown_database(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:s%C3%A9same@db/runs",
        "postgresql://ann:sésame@db/runs",
        "postgresql:///runs?password=s%C3%A9same",
    ],
    ids=["quoted", "as it is", "as an option"],
)
def test_what_a_driver_says_is_passed_on_without_the_password(address: str) -> None:
    said = f"cannot open {address} with sésame or s%C3%A9same: no\nhint: sésame"
    told = database.without_secret(said, address)
    assert told.endswith(": no")
    assert "sésame" not in told


def test_a_database_that_does_not_answer(
    nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreUnavailableError, match="expected a PostgreSQL database to answer at") as caught:
        open_stores(tracking_uri=nobody, workspace=tmp_path)
    monkeypatch.setenv(database.DATABASE, nobody)
    with pytest.raises(StoreUnavailableError, match="refused"):
        open_stores(tracking_uri=None, workspace=tmp_path)
    assert "trying again" not in caplog.text  # it is asked once, not for the minute that an open store is given
    assert "s3same" not in str(caught.value)
    assert "ann" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_workspace_of_a_database_is_not_looked_for_in_sqlite(
    nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(database.DATABASE, nobody)
    with pytest.raises(StoreUnavailableError):
        open_stores(tracking_uri=None, workspace=tmp_path)
    monkeypatch.delenv(database.DATABASE)
    with pytest.raises(StoreError, match="expected EBBDOOR_MLFLOW_DATABASE to be set"):
        open_stores(tracking_uri=None, workspace=tmp_path)
    assert "s3same" not in (tmp_path / "database.txt").read_text()


@pytest.mark.parametrize("address", ["postgres://db/runs", "mysql://db/runs", "postgresql+asyncpg://db/runs", "runs"])
def test_another_kind_of_address_is_refused(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(database.DATABASE, address)
    with pytest.raises(StoreError, match="expected EBBDOOR_MLFLOW_DATABASE to be postgresql://"):
        open_stores(tracking_uri=None, workspace=tmp_path)


def test_a_missing_driver_names_what_to_install(nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(database, "find_spec", lambda name: None if name == "psycopg2" else find(name))
    with pytest.raises(StoreError, match=r"install `ebbdoor\[postgres\]`"):
        open_stores(tracking_uri=nobody, workspace=tmp_path)
