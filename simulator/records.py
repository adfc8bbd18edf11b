"""Frozen values that travel between stages and into the ledger: values only, no tensors, no behaviour beyond hashing.

What is hashed is the *canonical* form: JSON with sorted keys. Wall-clock times and store ids never enter a canonical
record; they travel beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Finite = Annotated[float, Field(allow_inf_nan=False)]
Control = Literal["none", "paced", "free"]
#: which instructions libraries use: the processor's best, or those of every x86-64 with AVX2
Numerics = Literal["native", "portable"]
#: which model a defense looks at
Subject = Literal["champion", "candidate", "challenger"]
#: where a defense acts
Surface = Literal["filter", "training", "repair", "inspector", "screen"]
#: what a defense may ask for
RequestKind = Literal["purge", "roll-back", "retrain", "hold"]


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value in canonical form (sorted keys, no spaces, no NaN)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Value(BaseModel):
    """A frozen record that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def digest(self) -> str:
        """Return the SHA-256 of the canonical form."""
        return digest_of(self.model_dump(mode="json"))


class Sparse(Value):
    """A record that leaves out its fields `later` where they hold nothing: it was stored without them at first."""

    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _only_what_is_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = dump(self)
        return {name: value for name, value in found.items() if name not in self.later or value not in (None, [], {})}


class LineageKey(Value):
    """One lineage of versions: an arm, or one of its twins."""

    arm: str
    control: Control = "none"

    @property
    def name(self) -> str:
        """`main`, `main.twin` (paced) or `main.free-twin`: safe in file, tag and model names."""
        return self.arm + {"none": "", "paced": ".twin", "free": ".free-twin"}[self.control]


class Reading(Sparse):
    """A measured number, or the reason why there is none. Undefined is never 0.

    `class_rows`: of a mean over source classes, each weighing the same, the test rows of every source class. Given only
    where some class has fewer than two rows: with none it is left out of the mean, with one its share is 0 or 1.
    """

    later: ClassVar[tuple[str, ...]] = ("class_rows",)
    value: Finite | None = None
    reason: str | None = None
    class_rows: dict[int, int] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Reading:
        if (self.value is None) == (self.reason is None):
            raise ValueError("expected a reading to hold either a value or a reason")
        return self

    @staticmethod
    def of(value: float, class_rows: Mapping[int, int] | None = None) -> Reading:
        """A reading with a finite value."""
        return Reading(value=float(value), class_rows=None if class_rows is None else dict(class_rows))

    @staticmethod
    def undefined(reason: str) -> Reading:
        """A reading without a value, and why."""
        return Reading(reason=reason)


class Arrival(Value):
    """What the world did in a period. Ground truth: for the observer, never for production.

    `asked_rate` is what the campaign asked for, `poison_rate` poisoned rows / all rows. `file` is the SHA-256 of the
    images and labels of the file that arrived (None: the batch was drawn from the source).
    `true_drift` maps each drift's name to its magnitude in its own unit.
    """

    rows: int
    poisoned: int = 0
    covers: int = 0
    asked_rate: Finite = 0.0
    poison_rate: Finite = 0.0
    true_drift: dict[str, Finite] = Field(default_factory=dict)
    campaign_state: dict[str, Any] = Field(default_factory=dict)
    recycled: bool = False
    file: str | None = None


DriftKind = Literal["covariate", "label-prior", "unclear"]
#: what a monitor may name as `detail["kind"]`: the images changed, the shares of classes alone, or it cannot tell
DRIFT_KINDS: tuple[DriftKind, ...] = get_args(DriftKind)


class Signal(Value):
    """What a monitor reports of one batch. Higher `score` means more drift; `alarm` is `score > threshold`."""

    method: str
    score: Finite | None = None
    threshold: Finite | None = None
    p_value: Finite | None = None
    alarm: bool = False
    detail: dict[str, Any] = Field(default_factory=dict)

    @property
    def kind(self) -> DriftKind | None:
        """Return the kind of drift that the monitor named in `detail`, or None.

        >>> Signal(method="mine", detail={"kind": "label-prior"}).kind
        'label-prior'
        """
        found = self.detail.get("kind")
        return next((kind for kind in DRIFT_KINDS if kind == found), None)


class Decision(Sparse):
    """Whether to retrain, and why; `recipe` is what a defense asked this one update to do otherwise."""

    later: ClassVar[tuple[str, ...]] = ("recipe",)
    retrain: bool
    why: str
    recipe: dict[str, Any] = Field(default_factory=dict)


#: what is counted of a call: images through the model, its forward and backward passes (of a batch each), and the
#: trusted images that it was given
COSTS = ("samples", "forward_passes", "backward_passes", "trusted_images")


class Asked(Sparse):
    """What a defense asked for, whether it was `granted`, and `why`: what it leads to, or what stands against it.

    `to` is the version of a roll-back, `recipe` that of a retraining; a purge names `periods`, and the number of `rows`
    of the window.
    """

    later: ClassVar[tuple[str, ...]] = ("to", "recipe", "periods", "rows")
    kind: RequestKind
    reason: str
    to: int | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    periods: list[int] = Field(default_factory=list)
    rows: int | None = None
    granted: bool = False
    why: str = ""


class Outcome(Sparse):
    """What a defense decided. `cost` counts, see `COSTS`; never seconds. `requests`: what it asked for beside that.

    Status: `passed` (looked, found nothing), `flagged` (found something), `changed` (changed the data or the model),
    `failed` (raised, ended its process or returned something unusable; its result was not used), `timeout` (used up
    the time or the passes that the scenario allows, so it gave no result), `skipped` (did not apply).
    """

    later: ClassVar[tuple[str, ...]] = ("requests",)
    surface: Surface
    name: str
    status: Literal["passed", "flagged", "changed", "failed", "timeout", "skipped"]
    reason: str
    evidence: dict[str, Any] = Field(default_factory=dict)
    cost: dict[str, int] = Field(default_factory=dict)
    subject: Literal["window", "candidate", "challenger", "champion", "serving"] = "candidate"
    requests: list[Asked] = Field(default_factory=list)


class Filtered(Value):
    """What the filters made of a window: rows dropped, whether one asks to train again, their outcomes."""

    dropped: int = 0
    again: bool = False
    outcomes: tuple[Outcome, ...] = ()


class Updated(Value):
    """What the record says of a training, and of the defense that trains in the platform's place."""

    training: dict[str, Any]
    outcomes: tuple[Outcome, ...] = ()


class Probed(Value):
    """What the probes read of a version, and what the screens that guard it decided meanwhile."""

    readings: dict[str, Reading]
    outcomes: tuple[Outcome, ...] = ()


class Judgement(Value):
    """What the gate did; `serving` is the ordinal of the version that serves afterwards.

    `judged` is the ordinal of the candidate or challenger that it is about, None where only the champion was looked at.
    `promoted`, `rejected`, `held` (in shadow: it predicts beside the champion before it may serve), `kept` (nothing to
    judge, champion stays), `rolled back` or `error` (it could not be judged, so the champion stays).
    """

    action: Literal["promoted", "rejected", "held", "kept", "rolled back", "error"]
    why: str
    serving: int
    judged: int | None = None
    numbers: dict[str, Finite] = Field(default_factory=dict)


class Action(Value):
    """An operator's action on an arm, after `period` was committed and before the next is played.

    `roll back`: version `to` serves from now on, in the paced twin too. `retrain`: the next period retrains whatever
    the policy says, or the first one in which labels have arrived and no challenger is in shadow. `number` counts an
    arm's actions after the same period from 0. `numbers` are the readings that it rests on.
    """

    run: str
    arm: str
    period: int
    number: int
    kind: Literal["roll back", "retrain"]
    to: int | None = None
    reason: str
    numbers: dict[str, Finite] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_a_version(self) -> Action:
        if (self.kind == "roll back") != (self.to is not None):
            raise ValueError("expected exactly a roll-back to name the version that serves from now on")
        return self


class LineageEnd(Value):
    """A lineage that ended before its last period: training diverged in `period`, for the reason `why`.

    Its periods before `period` are committed, the others never are. With an arm its twins end too.
    """

    run: str
    arm: str
    control: Control
    period: int
    why: str

    @property
    def lineage(self) -> LineageKey:
        """The lineage that ended."""
        return LineageKey(arm=self.arm, control=self.control)


class LineageFacts(Value):
    """What never changes of a lineage.

    `architecture` rebuilds its network (`registry.base.VersionPayload`); `surfaces` are those on which some defense
    acts; `compares` says when some probe compares a version with the paced twin's; `looks_back`: some defense uses what
    the platform remembers of earlier periods; `at_promotion`: some inspector is asked before a promotion only.
    """

    architecture: dict[str, Any]
    surfaces: tuple[Surface, ...]
    compares: tuple[Literal["every", "milestones"], ...]
    looks_back: bool = False
    at_promotion: bool = False


class ReplayChange(Sparse):
    """What roll-backs and purges changed of the rows that may be replayed, by the periods in which they arrived.

    `left`: rows of abandoned versions, not replayed from now on. `returned`: rows of a version that serves again after
    all. `kept`: rows of abandoned versions that are replayed all the same, as the scenario says. `purged`: rows that a
    defense had taken out for good.
    """

    later: ClassVar[tuple[str, ...]] = ("purged",)
    left: list[int] = Field(default_factory=list)
    returned: list[int] = Field(default_factory=list)
    kept: list[int] = Field(default_factory=list)
    purged: list[int] = Field(default_factory=list)


class PeriodEnd(Value):
    """What a lineage says when a period is over.

    `weights` is the SHA-256 of the serving weights, `state` what a fresh process needs, `replay` what a roll-back
    changed of the rows that may be replayed. Seconds by defense, notes about its calls (how they were confined, how
    often one was asked again), the peak of the device's memory in bytes (None: not known) and the instructions that
    libraries used (`system.instructions`) are no part of the record.
    """

    weights: str
    state: dict[str, Any]
    replay: ReplayChange | None = None
    defense_seconds: dict[str, float] = Field(default_factory=dict)
    defense_notes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    device_memory: int | None = None
    instruction_sets: dict[str, str] = Field(default_factory=dict)


class PeriodRecord(Sparse):
    """One committed period of one lineage: everything needed to report it and to play the next one.

    `version` serves after this period and `readings` are its; `candidate` was trained in this period (null if none);
    `challenger` is in shadow after it (null if none). `actions` are the operator's just before.
    `candidate_readings` is empty unless the candidate was not promoted. `state` holds what a fresh process needs: the
    platform's state, the campaign's, the poison rates, the poisoned ancestor. `weights` is the SHA-256 of the serving
    version's weights. `replay` is there where a roll-back, of this period or just before it, or a purge changed which
    rows may be replayed.
    """

    later: ClassVar[tuple[str, ...]] = ("replay",)
    run: str
    arm: str
    control: Control
    period: int
    version: int
    parent: int | None
    candidate: int | None
    candidate_parent: int | None
    challenger: int | None = None
    actions: list[Action] = Field(default_factory=list)
    arrival: Arrival
    signal: Signal
    decision: Decision
    judgement: Judgement
    readings: dict[str, Reading]
    candidate_readings: dict[str, Reading] = Field(default_factory=dict)
    outcomes: list[Outcome] = Field(default_factory=list)
    training: dict[str, Any] = Field(default_factory=dict)
    state: dict[str, Any] = Field(default_factory=dict)
    weights: str
    source: str
    scenario: str
    replay: ReplayChange | None = None

    @property
    def lineage(self) -> LineageKey:
        """The lineage this period belongs to."""
        return LineageKey(arm=self.arm, control=self.control)


class PastRecord(Value):
    """What production remembers of a committed period: nothing in it is the world's or the observer's.

    `champion` served when the period began, `judged` is the candidate or challenger that the gate judged, `version`
    serves after it; `candidate` was trained in it. None: there was none.
    """

    period: int
    champion: int | None
    candidate: int | None
    judged: int | None
    version: int
    signal: Signal
    outcomes: list[Outcome]

    @staticmethod
    def of(record: PeriodRecord, before: PeriodRecord | None) -> PastRecord:
        """Return that of `record`; `before` is the record of the period before it."""
        returned = [action.to for action in record.actions if action.to is not None]
        return PastRecord(
            period=record.period,
            champion=returned[-1] if returned else None if before is None else before.version,
            candidate=record.candidate,
            judged=record.judgement.judged,
            version=record.version,
            signal=record.signal,
            outcomes=record.outcomes,
        )
