"""The environment of the worker in which strangers' defenses run: without what opens a store."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

__all__ = ["stripped"]

_PREFIXES = ("MLFLOW_", "PREFECT_", "AWS_", "AZURE_", "GOOGLE_", "GCP_", "GCLOUD_")
_ENDINGS = ("TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIALS", "DSN", "AUTH_SOCK")
_DATABASE = re.compile(r"DATABASE|(^|_)(DB|SQL|POSTGRES|REDIS|MONGO)\w*_(URL|URI)$")
#: an address with a user's name and password in it
_ADDRESS_WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]*@")


def stripped(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return `environment` without credentials and store addresses, with numerical threads pinned to `threads`.

    Left out: names of stores and clouds, names that end like a secret's, database addresses, and any value that holds
    a password in an address. The worker finds modules exactly where this process does, so that `module:Name` means the
    same in both; its own working directory is not put first, where a user's folder could hide one of ours.
    """
    kept = {name: value for name, value in environment.items() if not _opens_a_store(name.upper(), value)}
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    places = os.pathsep.join(place or os.getcwd() for place in sys.path)
    return kept | pinned | {"PYTHONPATH": places, "PYTHONSAFEPATH": "1"}


def _opens_a_store(name: str, value: str) -> bool:
    return (
        name.startswith(_PREFIXES)
        or name.endswith(_ENDINGS)
        or _DATABASE.search(name) is not None
        or _ADDRESS_WITH_PASSWORD.search(value) is not None
    )
