"""What a user writes: a scenario, validated and frozen. Keys are public and stable."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from simulator.records import Numerics, RequestKind, digest_of
from simulator.scenario.bounds import LARGEST

NonNegativeInt = Annotated[int, Field(ge=0, le=LARGEST)]
PositiveInt = Annotated[int, Field(gt=0, le=LARGEST)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of a scenario or a study: frozen, unknown keys refused, a key that is a word of Python under its alias."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True, allow_inf_nan=False
    )


class Use(BaseModel):
    """A plug-in by name, with its options: `{use: NAME, option: value, ...}`. Its constructor checks the options."""

    model_config = ConfigDict(frozen=True, extra="allow")
    use: str = Field(description="a short name, or module:Name")

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside `use`."""
        return dict(self.__pydantic_extra__ or {})


class AttackUse(Use):
    """An attack, and whether its trigger is put on before the drift (and drifts too) or after it."""

    stamped: Literal["after-drift", "before-drift"] = "after-drift"


class Every(Section):
    """Every so many periods, period 0 among them."""

    every: PositiveInt


class DefenseUse(Use):
    """A defense, when it is asked, and what it may be granted when it asks for more than its verdict.

    `when`: `every-period`, `{every: K}`, `on-alarm` (the monitor's, in that period), or for an inspector
    `at-promotion`: only about what would be promoted otherwise. `may`: any of purge, roll-back, retrain and hold.
    """

    when: Literal["every-period", "on-alarm", "at-promotion"] | Every = "every-period"
    may: tuple[RequestKind, ...] = ()

    @model_serializer(mode="wrap")
    def _only_what_is_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = dump(self)
        unsaid = [name for name, default in (("when", "every-period"), ("may", ())) if getattr(self, name) == default]
        return {name: value for name, value in found.items() if name not in unsaid}  # so that digests are as at first

    def due(self, period: int, alarm: bool) -> bool:
        """Return whether it is asked in `period`, where the monitor raised an alarm or did not."""
        if isinstance(self.when, Every):
            return period % self.when.every == 0
        return alarm or self.when != "on-alarm"


class Arrivals(Section):
    """A drop folder: from period 1 on, each file put there becomes one period's batch. Period 0 is the source's."""

    folder: Annotated[str, Field(min_length=1)] = Field(
        description="path; a relative one starts from the folder of the scenario's file"
    )
    megabytes: PositiveInt = Field(256, description="the most a file may hold, packed and unpacked")
    waiting: PositiveInt = Field(1000, description="the most files that one admission looks at")


class Stream(Section):
    """How rows arrive. `base`, `batch`, `validation`, `test` are rows; `label_delay` is in periods."""

    base: PositiveInt = Field(10000, description="rows of the base training")
    batch: PositiveInt = Field(2000, description="rows a period brings")
    validation: PositiveInt = Field(1000, description="rows of period 0 that are never trained on, for calibration")
    relearning: PositiveInt = Field(200, description="rows of one re-learning draw")
    test: PositiveInt = Field(
        2000, description="test rows the probes read in a period (all of them when there are fewer)"
    )
    reuse: Literal["refuse", "recycle"] = Field("refuse", description="what to do when fresh rows run out")
    label_delay: NonNegativeInt = Field(
        0, description="periods until a batch's labels arrive, and those of the defender's images"
    )
    arrivals: Arrivals | None = Field(None, description="a drop folder for the batches; null: they are the source's")


class Phase(Section):
    """One training: passes over the rows, rows a step, optimizer and learning-rate schedule."""

    epochs: Annotated[PositiveInt, Field(le=100_000)] = 4
    batch: Annotated[int, Field(ge=2, le=LARGEST)] = Field(128, description="rows a step; BatchNorm needs two")
    optimizer: Use = Use(use="sgd")
    schedule: Use = Use.model_validate({"use": "constant", "rate": 0.01})


def _one_cycle_unless_given(value: Any) -> Any:
    """Keep the base training's own default schedule when only other keys of it are given."""
    return {"schedule": {"use": "one-cycle", "peak": 0.1}, **value} if isinstance(value, Mapping) else value


BasePhase = Annotated[Phase, BeforeValidator(_one_cycle_unless_given)]


class Replay(Section):
    """Earlier rows trained on again: `share` of the new rows' number, drawn from the rows trained on so far."""

    share: Share = 0.0
    after_rollback: Literal["drop", "keep"] = Field(
        "drop",
        description="whether a roll-back takes the rows of abandoned versions out of what is replayed",
    )


class Recipe(Section):
    """How a model is trained."""

    network: Use = Use(use="standard-cnn")
    base: BasePhase = Phase.model_validate(_one_cycle_unless_given({}))
    update: Phase = Phase()
    start: Literal["champion", "scratch"] = Field("champion", description="what an update starts from")
    replay: Replay = Replay()
    frozen: tuple[str, ...] = Field((), description="parameter-name prefixes that updates leave alone")
    batchnorm: Literal["update", "fixed-statistics", "frozen"] = Field(
        "update", description="updates adapt BatchNorm wholly, keep its running statistics, or keep its weights too"
    )
    augmentation: Literal["none", "crop", "flip", "crop-flip"] = "none"
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = Field(
        "float32", description="less than float32 is for CUDA only"
    )


class Trusted(Section):
    """The defender's labelled images: how many, and up to which period they are renewed (from then on they age)."""

    images: NonNegativeInt = 500
    from_: Literal["latest"] | NonNegativeInt = Field(
        "latest",
        alias="from",
        description="latest: new ones every period; or a period's number: new ones up to that period, then these",
    )


class Shadow(Section):
    """How long a version that the gate would promote predicts beside the champion before it may serve."""

    periods: NonNegativeInt = Field(0, description="periods in shadow; 0: promoted versions serve at once")


class Base(Section):
    """A checkpoint of the user's own to start from (`.safetensors`), instead of the base training."""

    from_: str = Field(alias="from", description="path of a safetensors state dict")


_NEVER: Any = object()
#: dotted keys that scenarios did not have at first, with their defaults: under these the digest is the one of before
_LATER: dict[str, Any] = {
    "defense_passes": None,
    "defense_memory": 8192,
    "defense_confined": True,
    "on_timeout": "reject",
    "recipe.replay.after_rollback": "drop",
    "numerics": "native",
}


def _as_at_first(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the tree without later keys that have their defaults."""
    found = {}
    for name, value in tree.items():
        key = f"{above}{name}"
        if _LATER.get(key, _NEVER) != value:
            within = isinstance(value, dict) and any(later.startswith(f"{key}.") for later in _LATER)
            found[name] = _as_at_first(value, f"{key}.") if within else value
    return found


ArmName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class Scenario(Section):
    """The experiment. `arms` maps a name to dotted-path overrides of the other keys."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")] = "scenario"
    seed: NonNegativeInt = 0
    periods: Annotated[int, Field(ge=1, le=10000)] = Field(6, description="updates after the base training")
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = Field(
        "auto", description="auto, cpu, cuda or cuda:N"
    )
    threads: Annotated[PositiveInt, Field(le=1024)] = Field(
        1, description="torch threads of one lineage; part of the digest"
    )
    numerics: Numerics = Field(
        "native",
        description="native: the processor's best instructions; portable: those of every x86-64 with AVX2, which give "
        "the same bits on all of them (one thread, no GPU)",
    )
    source: Use = Use(use="fashion-mnist")
    stream: Stream = Stream()
    drift: tuple[Use, ...] = ()
    attack: AttackUse = AttackUse(use="none")
    campaign: Use = Use(use="none")
    monitor: Use = Use(use="none")
    policy: Use = Use(use="every-period")
    recipe: Recipe = Recipe()
    base: Base | None = None
    trusted: Trusted = Trusted()
    defenses: tuple[DefenseUse, ...] = ()
    oracle: bool = Field(False, description="add the labelled oracle filter, an upper bound no defender has")
    defense_seconds: Annotated[PositiveFloat, Field(le=200_000)] = Field(  # more milliseconds no clock of a call holds
        120.0, description="time limit of one defense's call, in seconds"
    )
    defense_passes: PositiveInt | None = Field(
        None, description="the most passes of one defense's call: an image forward is one, with gradients three"
    )
    defense_memory: PositiveInt = Field(8192, description="the most memory of one defense's call, in megabytes")
    defense_confined: bool = Field(
        True, description="keep defenses from network and files beyond the installation, where the system can"
    )
    on_timeout: Literal["reject", "pass", "closed"] = Field(
        "reject",
        description="a defense that ran into a limit: an inspector failed (reject) or was not asked (pass), the others "
        "leave all as it was; closed: any of them rejects the candidate, and a screen refuses all images",
    )
    in_process: bool = Field(False, description="run defenses in this process, for debugging")
    gate: Use = Use(use="none")
    shadow: Shadow = Shadow()
    probes: tuple[Use, ...] = (Use(use="attack-success"), Use(use="dose"), Use(use="relearning"))
    twins: tuple[Literal["paced", "free"], ...] = ("paced",)
    arms: dict[ArmName, dict[str, Any]] = Field(default={"main": {}}, min_length=1)

    @field_validator("defenses")
    @classmethod
    def _none_is_the_labelled_filter(cls, defenses: tuple[DefenseUse, ...]) -> tuple[DefenseUse, ...]:
        # Records tell the labelled filter by its name: what it found is kept from every defense's history.
        if any(one.use == "oracle" for one in defenses):
            raise ValueError(
                "expected another name than that of the labelled filter, got 'oracle'; "
                "write oracle: true for it, or register your defense by another name"
            )
        return defenses

    @model_validator(mode="after")
    def _portable_on_one_thread_of_a_processor(self) -> Self:
        if self.numerics == "portable" and self.threads != 1:
            raise ValueError(f"expected threads to be 1 with numerics: portable, got {self.threads}; set one of them")
        if self.numerics == "portable" and self.device.startswith("cuda"):
            raise ValueError(f"expected device to be cpu with numerics: portable, got '{self.device}'; set one of them")
        return self

    @cached_property
    def tree(self) -> dict[str, Any]:
        """The scenario as JSON values, after defaults and under the keys a user writes. Made once; do not change it."""
        return self.model_dump(mode="json", by_alias=True)

    @cached_property
    def _sha256(self) -> str:
        return digest_of(_as_at_first(self.tree))

    def digest(self) -> str:
        """Return the SHA-256 of the scenario after defaults."""
        return self._sha256

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, in which what this one has cached about its fields is forgotten."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("tree", "_sha256"):
            copied.__dict__.pop(name, None)
        return copied
