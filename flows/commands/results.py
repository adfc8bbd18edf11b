"""What a finished run prints: the tables, the verdict, and links."""

from __future__ import annotations

import sys

from flows import settings
from flows.runs.folder import RunFolder, shown


def print_run(folder: RunFolder) -> None:
    """Print the exported run of a folder to standard output."""
    from rich.console import Console

    from simulator.observer.export import read_run
    from simulator.observer.report import console

    run = read_run(folder.folder)
    links = links_of(folder, dict(run.about.get("links", {})))
    console.print_run(run, Console(file=sys.stdout, highlight=False), links)


def links_of(folder: RunFolder, stores: dict[str, str]) -> dict[str, str]:
    """Return name -> address or path: the report, the stores' own links, and the pages that can be opened."""
    links = {"report": shown(folder.folder / "report.html"), "run folder": shown(folder.folder), **stores}
    running = settings.addresses(folder.workspace)
    if "PREFECT_API_URL" in running:
        links["Prefect pages"] = running["PREFECT_API_URL"].removesuffix("/api")
    else:
        links["all pages"] = "`make up` serves Prefect's and MLflow's on this machine, this run included"
    return links
