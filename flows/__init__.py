"""Command line, Prefect flows and servers. Importing it keeps Prefect and MLflow quiet and in the workspace."""

from flows.settings import prepare

prepare()
