"""Which of MLflow's failures are its store's, and which of those may pass."""

from __future__ import annotations

from json import JSONDecodeError

__all__ = ["is_of_store", "may_pass"]

#: MLflow's codes for what stays as it is however often it is asked. `BAD_REQUEST` is not among them: MLflow also gives
#: it to whatever its database layer raises, a lost connection included, and we make no malformed request.
_REFUSALS = frozenset({
    "CUSTOMER_UNAUTHORIZED", "ENDPOINT_NOT_FOUND", "FEATURE_DISABLED", "INVALID_PARAMETER_VALUE", "INVALID_STATE",
    "NOT_FOUND", "NOT_IMPLEMENTED", "PERMISSION_DENIED", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
})  # fmt: skip


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
