"""The environment of a defense's process: without credentials and store addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping

from simulator.system.worker import worker_environment

_PREFIXES = ("MLFLOW_", "PREFECT_", "AWS_", "AZURE_", "GOOGLE_", "GCP_", "GCLOUD_")
_ENDINGS = ("TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIALS", "DSN", "AUTH_SOCK")
_DATABASE = re.compile(r"DATABASE|(^|_)(DB|SQL|POSTGRES|REDIS|MONGO)\w*_(URL|URI)$")
#: an address with a user name and a password in it
_ADDRESS_WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]*@")


def stripped(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return `environment` without credentials and store addresses, with numerical threads pinned to `threads`.

    Left out: names of stores and clouds, names that end like a secret's, database addresses, and any value that holds
    a password in an address.
    """
    kept = {name: value for name, value in environment.items() if not _opens_a_store(name.upper(), value)}
    return worker_environment(kept, threads)


def _opens_a_store(name: str, value: str) -> bool:
    return (
        name.startswith(_PREFIXES)
        or name.endswith(_ENDINGS)
        or _DATABASE.search(name) is not None
        or _ADDRESS_WITH_PASSWORD.search(value) is not None
    )
