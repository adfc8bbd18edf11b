"""What the shell offers at the tab key: names of scenarios, studies, runs, plug-ins and kinds of plug-in.

Nothing here imports torch or opens a store, and a name that cannot be found out is not offered: a shell waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from simulator.errors import EbbdoorError

#: what `ebbdoor list` lists that is no kind of plug-in
OTHER_KINDS = ("presets", "studies", "runs")


def scenarios(incomplete: str) -> list[str]:
    """Return the presets and the YAML files that begin so."""
    from simulator.scenario.load import presets

    return _beginning([*presets(), *_yaml_files(incomplete)], incomplete)


def studies(incomplete: str) -> list[str]:
    """Return the studies and the YAML files that begin so."""
    from simulator.study.load import studies as shipped

    return _beginning([*shipped(), *_yaml_files(incomplete)], incomplete)


def runs(incomplete: str) -> list[str]:
    """Return the runs of the workspace that begin so, newest first."""
    from flows import settings
    from flows.runs.folder import runs as found

    with suppress(OSError, EbbdoorError):
        return _beginning((folder.folder.name for folder, _ in found(settings.default_workspace())), incomplete)
    return []


def kinds(incomplete: str) -> list[str]:
    """Return the words that `ebbdoor list` takes and that begin so."""
    from simulator.scenario.catalog import KINDS

    return _beginning([*OTHER_KINDS, *KINDS], incomplete)


def defenses(incomplete: str) -> list[str]:
    """Return the installed defenses that begin so."""
    from simulator.scenario.catalog import names

    with suppress(EbbdoorError):
        return _beginning(names("defenses"), incomplete)
    return []


def _yaml_files(incomplete: str) -> list[str]:
    folder = incomplete[: incomplete.rfind("/") + 1]
    with suppress(OSError):
        found = sorted(Path(folder or ".").iterdir())
        return [f"{folder}{path.name}{'/' if path.is_dir() else ''}" for path in found if _is_offered(path)]
    return []


def _is_offered(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") or (path.is_dir() and not path.name.startswith("."))


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
