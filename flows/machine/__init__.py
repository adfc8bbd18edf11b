"""Servers, workers and their databases on this machine, and what a Prefect server has registered and installed."""
