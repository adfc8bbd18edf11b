"""Off-line, quiet and on one thread: what every harness sets before torch, Prefect and MLflow are imported."""

from __future__ import annotations

import os

os.environ |= {
    "DO_NOT_TRACK": "true",
    "MKL_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "OMP_NUM_THREADS": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
for _name in ("EBBDOOR_WORKSPACE", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_PROFILE"):
    os.environ.pop(_name, None)
