"""What a finished run prints: the tables, the verdict, and where a person can look."""

from __future__ import annotations

import sys

from flows import settings
from flows.runs.folder import Place, shown

__all__ = ["links_of", "print_run"]


def print_run(place: Place) -> None:
    """Print the exported run of a place to standard output."""
    from rich.console import Console

    from simulator.observer.export import read_run
    from simulator.observer.report import console

    run = read_run(place.folder)
    console.print_run(run, Console(file=sys.stdout, highlight=False), links_of(place, dict(run.about.get("links", {}))))


def links_of(place: Place, stores: dict[str, str]) -> dict[str, str]:
    """Return name -> address or path: the report, the stores' own links, and the pages that can be opened."""
    links = {"report": shown(place.folder / "report.html"), "run folder": shown(place.folder), **stores}
    running = settings.addresses(place.workspace)
    if "PREFECT_API_URL" in running:
        links["Prefect pages"] = running["PREFECT_API_URL"].removesuffix("/api")
    else:
        links["all pages"] = "`make up` serves Prefect's and MLflow's on this machine, this run included"
    return links
