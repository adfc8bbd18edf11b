"""What a person asks an audit for, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from pydantic import ValidationError

from simulator.errors import ScenarioError
from simulator.production.auditing.auditor import audit_facts
from simulator.production.registry.mlflow.model_uris import read_uri
from simulator.scenario.limits import read_bounded
from simulator.scenario.model import DefenseUse, Use
from simulator.scenario.sentences import sentences
from simulator.scenario.text import parse

#: keys of a scenario's defense that say what an audit does not ask for
_OF_RUNS: Final = ("may", "when")


@final
@dataclass(frozen=True, slots=True)
class AuditOrder:
    """Which models to audit by which `defenses`, `NAME` or `{use: NAME, option: value}`, and with what.

    `trusted` and `images` are paths of npz archives, `architecture` is what rebuilds the network of models that do not
    say it. `save` is the folder for repaired weights. `mark`: findings are written to the models.
    """

    models: Sequence[str]
    defenses: Sequence[Any]
    trusted: str | None = None
    images: str | None = None
    architecture: Mapping[str, Any] | None = None
    seed: int = 0
    seconds: float = 120.0
    save: Path | None = None
    pickles: bool = False
    mark: bool = True

    def check(self) -> None:
        """Raise `ScenarioError` for addresses of no model, defenses that cannot audit, a `save` that is no folder."""
        for uri in self.models:
            read_uri(uri)
        for use in self.uses().values():
            audit_facts(use)
        if self.save is not None and self.save.exists() and not self.save.is_dir():
            raise ScenarioError(f"expected --save to name a folder, got '{self.save}', which is none; name another")

    def uses(self) -> dict[str, Use]:
        """Return the defenses by the names of their outcomes, the second of the same name with `-2` appended."""
        found: dict[str, Use] = {}
        for given in self.defenses:
            use = _use(given)
            number = sum(other.use == use.use for other in found.values()) + 1
            found[use.use if number == 1 else f"{use.use}-{number}"] = use
        return found


def read_architecture(path: Path) -> Mapping[str, Any]:
    """Return the keys of an architecture in a file of JSON or YAML, or raise `ScenarioError`."""
    try:
        values = parse(read_bounded(path).decode("utf-8"), str(path))
    except (OSError, ValueError) as error:
        raise ScenarioError(f"expected --architecture to be a file of text, got '{path}' ({error})") from None
    if isinstance(values, dict):
        return values
    raise ScenarioError(
        f"expected {path} to hold the keys network, channels, size and classes, got {type(values).__name__}; add them"
    )


def _use(given: Any) -> Use:
    """Return a defense as a scenario would name it; on the command line options come as YAML."""
    values = parse(given, "--defense") if isinstance(given, str) and given.lstrip().startswith("{") else given
    if isinstance(values, str):
        return Use(use=values)
    try:
        DefenseUse.model_validate(values)
    except ValidationError as error:
        raise ScenarioError("\n".join(f"--defense: {line}" for line in sentences(error, values))) from error
    if unfit := [key for key in _OF_RUNS if key in values]:
        raise ScenarioError(f"expected --defense to hold options of the defense, got '{unfit[0]}'; leave it out")
    return Use.model_validate(values)
