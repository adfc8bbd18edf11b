"""Settings that third parties read when they are imported."""

from __future__ import annotations

import logging
import os

#: A user's own value wins, except where noted in `prepare_environment`.
_DEFAULTS = {
    # We ask again ourselves, after reading what arrived (see `retry.py`): MLflow would send a request whose answer was
    # lost once more as it is, and so make things twice. Its patience would also multiply with ours: four minutes a try.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # our standard output is for results
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # MLflow sets its own loggers' level from it when it is imported
}


def prepare_environment() -> None:
    """Turn off telemetry and noise of MLflow; call it before mlflow is imported. Child processes inherit it.

    Telemetry is off whatever was set before. `DO_NOT_TRACK` must be the word `true`: MLflow reads nothing else.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Of a connection that was cut it writes the traceback; the code that used it says so in a sentence.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    # It logs the whole traceback of every database failure, which we tell in a sentence.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
