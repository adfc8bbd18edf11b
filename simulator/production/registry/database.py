"""PostgreSQL as MLflow's store: its address, checked, and shown without its secrets."""

from __future__ import annotations

import os
from importlib.util import find_spec
from urllib.parse import parse_qs, unquote

from simulator.errors import StoreError

#: environment variable: the database that holds the workspace's runs, instead of its own SQLite file
DATABASE = "EBBDOOR_MLFLOW_DATABASE"


def own_database() -> str | None:
    """Return the address in `EBBDOOR_MLFLOW_DATABASE`; None when it is not set: then SQLite is used."""
    return os.environ.get(DATABASE) or None


def is_database(address: str) -> bool:
    """Whether `address` is a PostgreSQL database's."""
    return address.partition(":")[0].partition("+")[0] == "postgresql"


def shown_database(address: str) -> str:
    """Return the address without user name, password and options."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def without_secret(text: str, address: str) -> str:
    """Return the first line of `text`, at most 300 characters, with the password in `address` taken out."""
    _, _, password = address.partition("://")[2].rpartition("@")[0].partition(":")
    options = parse_qs(address.partition("?")[2])
    line = next(iter(text.strip().splitlines()), "")
    for secret in (address, password, unquote(password), *options.get("password", [])):
        line = line.replace(secret, "***") if secret else line
    return line[:300]


def check_scheme(address: str, name: str, driver: str) -> None:
    """Raise `StoreError` unless `address`, the value of `name`, is one of PostgreSQL that `driver` can open."""
    scheme, _, rest = address.partition("://")
    if scheme not in ("postgresql", f"postgresql+{driver}") or not rest:
        raise StoreError(
            f"expected {name} to be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, got an address that begins with "
            f"'{scheme[:20]}'; correct it, or unset it to use SQLite"
        )
    if find_spec(driver) is None:
        raise StoreError(
            f"expected the driver {driver} to be installed for the database in {name}, got none; "
            "install `ebbdoor[postgres]`"
        )
