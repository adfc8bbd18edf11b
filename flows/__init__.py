"""The roof: command line, Prefect flows, servers. Importing it keeps Prefect and MLflow quiet and in the workspace."""

from flows.settings import prepare

prepare()
