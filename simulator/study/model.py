"""What a user writes: a study, validated and frozen; a grid of scenarios x seeds, with claims fixed before the run."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveFloat, model_validator

from simulator.observer.survival import THRESHOLDS
from simulator.records import digest_of
from simulator.scenario.bounds import LARGEST
from simulator.scenario.model import NonNegativeInt, PositiveInt, Section

#: measures with a meaning of their own; every other is a reading (it has a `/`) or a column of the timelines table
SURVIVAL = "survival"
ERASED = "erased"
#: measures that count updates up to a horizon
COUNTED = (SURVIVAL, ERASED)
RANK_CORRELATION = "rank_correlation"


def _measured_threshold(value: float) -> float:
    """Survival is measured at these alone."""
    if value not in THRESHOLDS:
        raise ValueError(f"expected threshold to be one of {', '.join(map(str, THRESHOLDS))}, got {value}; choose one")
    return value


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
Threshold = Annotated[float, AfterValidator(_measured_threshold)]
Period = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Over = Literal["first", "last", "mean", "erased", "trend"] | Period | tuple[Period, Period]
Undefined = Literal["leave-out", "against"] | float
Seeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]


class Correlation(Section):
    """Spearman's rank correlation of two columns of the timelines table over `settings`, within each seed."""

    of: str
    with_: str = Field(alias="with")
    settings: Annotated[tuple[str, ...], Field(min_length=3)]


class Side(Section):
    """One side of a comparison: exactly one of a setting (see `Study`), a number for every seed, a correlation.

    `measure` and `over`, on a setting, replace those of the endpoint.
    """

    setting: str | None = Field(None, description="an arm's name, with its grid point where the study has a grid")
    value: float | None = Field(None, description="a reference, the same for every seed")
    correlation: Correlation | None = Field(None, description="Spearman's rho within each seed")
    measure: str | None = Field(None, description="another measure than the endpoint's, of the same unit")
    over: Over | None = Field(None, description="another version than the endpoint's, of a reading")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Side:
        given = [name for name in ("setting", "value", "correlation") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of setting, value and correlation, got {' and '.join(given) or 'none'}; give one"
            )
        if self.setting is None and not (self.measure is None and self.over is None):
            raise ValueError(f"expected measure and over beside a setting only, got {given[0]}; leave them out")
        return self


class EndpointSpec(Section):
    """The one quantity that decides a claim.

    `survival` (updates, censored at the horizon) is compared by restricted means. `erased` is whether the backdoor is
    erased by the update `horizon`; against a number it is a share of seeds, tested by the exact binomial test, as is a
    reading that is `below` a value. Any other measure is compared by paired differences: a column of the timelines
    table, `exposure_per_period`, a reading such as `backdoor/triggered_effect` at `over`, or `rank_correlation`, whose
    sides are correlations. `over` is for readings.
    """

    measure: str = SURVIVAL
    threshold: Threshold = 0.5
    horizon: PositiveFloat | None = Field(None, description="updates; for `survival` and `erased` only, and necessary")
    over: Over = Field(
        "last",
        description="the version of the first update, the last, the mean from the first update on, the one that the "
        "backdoor is erased by (the last, where it never is), the one that serves after a period's number, [a, b]: the "
        "mean over the updates a to b, or trend: the rank correlation of the reading with the number of the update",
    )
    below: float | None = Field(None, description="the event is that the reading is below this value")
    given: Literal["erased"] | None = Field(
        None, description="only timelines whose backdoor was erased before the period that is read count"
    )
    undefined: Undefined | None = Field(
        None,
        description="a reading without a value: leave-out, against (the value that speaks most against the claim), a "
        "number; null: a dose above every dose counts as 1, all else is left out and counted",
    )

    @model_validator(mode="after")
    def _has_its_horizon(self) -> EndpointSpec:
        if (self.horizon is not None) != (self.measure in COUNTED):
            raise ValueError(
                f"expected a horizon for '{SURVIVAL}' and '{ERASED}' and for nothing else, got {self.horizon} for "
                f"'{self.measure}'; give the updates that every timeline has"
            )
        if isinstance(self.over, tuple) and not 1 <= self.over[0] <= self.over[1]:
            raise ValueError(
                f"expected over to be two numbers of updates from 1 on, rising, got {list(self.over)}; correct it"
            )
        if "/" not in self.measure and (self.below is not None or self.given is not None):
            raise ValueError(
                f"expected below and given beside a reading only, got them beside '{self.measure}'; leave them out"
            )
        return self

    @property
    def is_event(self) -> bool:
        """Whether a seed's value is whether something happened."""
        return self.measure == ERASED or self.below is not None


class Start(Section):
    """Lifetimes are compared only from equal starts: pairs further apart at period 0 are left out, and counted."""

    attack_success: float = 0.05
    dose: float | None = Field(None, description="largest difference of trigger ED50; null: not asked for")


class Comparison(Section):
    """Two sides of one measure. Beside a claim: reported with interval and effects, never with a verdict."""

    one: Side
    other: Side
    endpoint: EndpointSpec | None = Field(None, description="null: that of the claim it stands beside")
    note: str = ""

    @model_validator(mode="after")
    def _can_be_compared(self) -> Comparison:
        if self.endpoint is not None:
            _check_sides(self.endpoint, self.one, self.other)
        return self


class ClaimSpec(Section):
    """A claim: `one` - `other` of its endpoint is greater (or less) than `gate`; fixed before the run.

    `within`: it lies between -gate and gate (an equivalence). p is corrected over the claims of the same `family`.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    sentence: str
    endpoint: EndpointSpec
    one: Side
    other: Side
    direction: Literal["greater", "less", "within"]
    gate: float = 0.0
    family: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,20}$")] = "A"
    start: Start | None = None
    beside: tuple[Comparison, ...] = ()
    published: str = Field("", description="the figure to read beside it, with its source")

    @model_validator(mode="after")
    def _can_be_compared(self) -> ClaimSpec:
        _check_sides(self.endpoint, self.one, self.other)
        for comparison in self.beside:
            _check_sides(comparison.endpoint or self.endpoint, comparison.one, comparison.other)
        if self.start is not None and (self.one.setting is None or self.other.setting is None):
            raise ValueError("expected start where both sides are settings, got it elsewhere; leave it out")
        if self.direction == "within" and not (self.gate > 0 and not is_share(self.endpoint, self.other)):
            raise ValueError(
                f"expected an equivalence to be of a difference, with a gate above 0, got {self.gate:g}; give the "
                "largest difference that counts as none"
            )
        return self


def is_share(endpoint: EndpointSpec, other: Side) -> bool:
    """Return whether the comparison is that of a share of seeds with a number."""
    return endpoint.is_event and other.value is not None


def _check_sides(endpoint: EndpointSpec, one: Side, other: Side) -> None:
    if one.value is not None:
        raise ValueError("expected `one` to be measured, got a value; put the reference into `other`")
    correlations = one.correlation is not None, other.correlation is not None
    ranks = endpoint.measure == RANK_CORRELATION
    if ranks != correlations[0] or (correlations[1] and not ranks) or (ranks and other.setting is not None):
        raise ValueError(
            f"expected correlations as sides of '{RANK_CORRELATION}' and of nothing else, got "
            f"'{endpoint.measure}'; change the measure or the sides"
        )
    if endpoint.measure in COUNTED and (one.measure or other.measure):
        raise ValueError(
            f"expected both sides of '{endpoint.measure}' to be survivals, got another measure; leave it out"
        )
    for side in (one, other):
        measure = side.measure or endpoint.measure
        if side.over is not None and "/" not in measure:
            raise ValueError(f"expected over beside a reading only, got it beside '{measure}'; leave it out")


class Quick(Section):
    """The subset that `--quick` plays."""

    seeds: Seeds
    settings: tuple[str, ...] | None = Field(None, description="null: all")


class Study(Section):
    """A grid of scenarios x seeds. Every arm of the scenario, at every grid point and seed, is one timeline.

    `scenario` is a preset's name, a path (beside the study file), or the scenario's own keys. `set` lays dotted keys
    over it. `grid` maps dotted keys to lists of values; its points are all combinations. A *setting* is an arm at a
    grid point: `ARM`, or `ARM key=value key=value` where there is a grid. `arm_seeds` and `arm_periods` give
    arms other seeds than `seeds` and other periods than the scenario's.
    """

    name: Name
    about: str = ""
    scenario: str | dict[str, Any]
    set: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    seeds: Seeds
    arm_seeds: dict[str, Seeds] = Field(default_factory=dict)
    arm_periods: dict[str, PositiveInt] = Field(default_factory=dict)
    claims: tuple[ClaimSpec, ...] = ()
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    notes: dict[str, str] = Field(
        default_factory=dict, description="claim's id -> a remark on its result, for the document"
    )
    power: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="claim's id -> its power as simulated before the run, for the document"
    )
    quick: Quick | None = None
    workers: Annotated[PositiveInt, Field(le=1024)] | None = Field(None, description="processes; null: one a core")

    @model_validator(mode="after")
    def _names_each_claim_once(self) -> Study:
        ids = Counter(claim.id for claim in self.claims)
        if repeated := [name for name, count in ids.items() if count > 1]:
            raise ValueError(f"expected each claim to have an id of its own, got {repeated[0]} twice; rename one")
        for what, named in (("notes", self.notes), ("power", self.power)):
            if unknown := [name for name in named if name not in ids]:
                raise ValueError(f"expected {what} of claims, got one of '{unknown[0]}'; claims are {', '.join(ids)}")
        return self

    def digest(self) -> str:
        """Return the SHA-256 of the study after defaults, without `workers`, `notes` and `power`."""
        return digest_of(self.model_dump(mode="json", exclude={"workers", "notes", "power"}))
