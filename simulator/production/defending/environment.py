"""The environment of a defense's process: without credentials and store addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping

from simulator.system.worker import worker_environment

_PREFIXES = (
    "MLFLOW_", "PREFECT_", "AWS_", "AZURE_", "GOOGLE_", "GCP_", "GCLOUD_", "CLOUDSDK_", "VAULT_", "DOCKER_",
)  # fmt: skip
#: words that mean a secret where they stand alone in a name, between underscores or digits: `DB_PWD_2`, `GITHUB_PAT`
_WORDS = re.compile(
    "(^|[^A-Z])(KEYS?|PASS|PWD|PW|PIN|PAT|CREDS?|DSN|AUTH|AUTHORIZATION|OAUTH[0-9]?|JWT|BEARER|COOKIES?)([^A-Z]|$)"
)
#: those that mean one also within a longer word: `TOKEN_FILE`, `PGPASSWORD`, `AUTHTOKEN`, but not a tokenizer's option
_PARTS = re.compile("TOKEN(?!I)|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASSCODE|PASSFILE|ASKPASS|CREDENTIAL|AUTH_SOCK|KEY$")
#: files of credentials
_FILES = ("KUBECONFIG", "NETRC", "PGSERVICEFILE", "XAUTHORITY", "KRB5CCNAME", "BOTO_CONFIG")
#: the working directory, as shells name it, holds no password
_HARMLESS = ("PWD", "OLDPWD")
_DATABASE = re.compile(r"DATABASE|(^|_)(DB|SQL|POSTGRES|REDIS|MONGO)\w*_(URL|URI)$")
#: an address with a user name and a password in it
_ADDRESS_WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]*@")


def stripped(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return `environment` without credentials and store addresses, with numerical threads pinned to `threads`.

    Left out: names of stores and clouds, names with a word that means a secret, database addresses, and any value that
    holds a password in an address. What is called otherwise is kept.
    """
    kept = {name: value for name, value in environment.items() if not _opens_a_store(name.upper(), value)}
    return worker_environment(kept, threads)


def _opens_a_store(name: str, value: str) -> bool:
    if _ADDRESS_WITH_PASSWORD.search(value) is not None:
        return True
    if name in _HARMLESS:
        return False
    told = any(pattern.search(name) is not None for pattern in (_WORDS, _PARTS, _DATABASE))
    return told or name.startswith(_PREFIXES) or name in _FILES
