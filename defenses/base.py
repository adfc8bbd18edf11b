"""The defense contract: five surfaces, one method each, one frozen context in, one frozen result out.

This package imports nothing of `simulator` or `flows`. A defense sees what a defender would have: a private copy of
the model, the incoming window, a small set of trusted images, and what the platform remembers of earlier periods. It
never sees poison labels, the trigger or test data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from defenses.bounds import bounded, check_bounds
from defenses.context import Context as Context
from defenses.context import Size as Size
from defenses.context import State as State
from defenses.context import Subject as Subject
from defenses.history import History as History
from defenses.history import PastBatch as PastBatch
from defenses.history import PastOutcome as PastOutcome
from defenses.history import PastSignal as PastSignal
from defenses.history import PastVersion as PastVersion
from defenses.recipe import Recipe as Recipe
from defenses.requests import Hold as Hold
from defenses.requests import Purge as Purge
from defenses.requests import Request as Request
from defenses.requests import Retrain as Retrain
from defenses.requests import RollBack as RollBack
from defenses.results import FilterResult as FilterResult
from defenses.results import InspectorResult as InspectorResult
from defenses.results import RepairResult as RepairResult
from defenses.results import ScreenResult as ScreenResult
from defenses.results import TrainingResult as TrainingResult
from defenses.rows import Rows as Rows
from defenses.threshold import Threshold as Threshold

Surface = Literal["filter", "training", "repair", "inspector", "screen"]
#: where the threshold of a defense comes from
Calibration = Literal["paper", "trusted images", "earlier versions", "none"]


class DoesNotApply(Exception):
    """Raise this, with a reason, where the method has nothing to work on: the outcome is `skipped`, not `failed`."""


class Defense(ABC):
    """Base of the five surfaces. Subclass one of them, not this. A class is abstract or final.

    The constructor's signature is the schema: keyword-only options, each with a default and a unit. Bounds stand in the
    annotation, as in `steps: Annotated[int, Ge(1)] = 150` (package `annotated_types`), and are checked for you. Raise
    `ValueError` in the constructor for options that do not go together. Do not read a clock, set a global seed or log:
    the platform does.

    A defense over time says how: it looks back where `versions_back` or `periods_back` is more than 0, or where it
    `remembers`. Then, and only then, `context.history` holds facts about all earlier versions and periods, as of the
    end of the last period and with this period's signal; weights and rows of as many as it says can be loaded, and
    outcomes are there of the versions that can. For a
    defense that does none of this `context.history` is empty, and the platform keeps nothing on its account.

    A class that `remembers` is handed in `context.state` what it last returned as `state`, also within a period. A
    state takes effect with its result: that of a call that failed, or reached a limit, is lost. A screen cannot
    remember, since it is called as often as there are images to look at.
    """

    surface: ClassVar[Surface]
    #: whether it cannot work without trusted images; a scenario that grants none is then refused beforehand
    needs_trusted: ClassVar[bool] = False
    #: where its thresholds come from; `none`: it has none
    calibration: ClassVar[Calibration] = "none"
    #: the option that `ebbdoor calibrate` may set, and what it is compared with; None: there is no such option
    threshold_option: ClassVar[Threshold | None] = None
    #: of how many versions it may load the weights: the champion and its nearest ancestors, so many in all, whatever
    #: was rejected since; and of the latest so many, rejected ones too. At most 100
    versions_back: ClassVar[int] = 0
    #: of how many of the latest periods whose labels have arrived it may load the rows: at most 100
    periods_back: ClassVar[int] = 0
    #: whether what it returns as `state` is kept and handed back
    remembers: ClassVar[bool] = False
    #: what becomes of its state when a version serves again that was trained before the period it was last written in
    after_rollback: ClassVar[Literal["keep", "clear"]] = "keep"
    #: conformance checks this class may skip, by name, each with its reason
    skips: ClassVar[Mapping[str, str]] = {}

    def passes(self, size: Size) -> int | None:
        """Return how many passes a call on a context of `size` makes at most; None, the default, where it cannot tell.

        One pass is one image that goes forward through the model; where gradients flow back, it counts as three. A
        user is told beforehand what that will cost, and can limit passes, which a slow machine does not change.
        """
        return None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__init__" in vars(cls):
            cls.__init__ = bounded(cls.__init__)  # type: ignore[method-assign]

    def __post_init__(self) -> None:  # of subclasses that are dataclasses: they get their `__init__` later
        check_bounds(type(self), vars(self))


class Filter(Defense):
    """Looks at the window before training and says which rows to keep."""

    surface = "filter"

    @abstractmethod
    def filter(self, context: Context) -> FilterResult:
        """Return which of `context.window`'s rows to keep."""


class Training(Defense):
    """Trains on the window in place of the platform; a scenario has at most one."""

    surface = "training"

    @abstractmethod
    def train(self, context: Context) -> TrainingResult:
        """Return `context.model`, trained on `context.window` by `context.recipe`.

        Where `context.subject` is `champion`, the model is a copy of the champion. Else it is the network as it is
        initialised: in period 0, and in every period of a scenario whose updates start from scratch.
        """


class Repair(Defense):
    """Changes the candidate."""

    surface = "repair"

    @abstractmethod
    def repair(self, context: Context) -> RepairResult:
        """Return the repaired model; `context.model` may be changed in place and returned."""


class Inspector(Defense):
    """Judges a model."""

    surface = "inspector"

    @abstractmethod
    def inspect(self, context: Context) -> InspectorResult:
        """Return whether `context.model` is judged backdoored."""


class Screen(Defense):
    """Guards serving: looks at each incoming image, and refuses an answer or gives another one."""

    surface = "screen"

    @abstractmethod
    def screen(self, context: Context) -> ScreenResult:
        """Return which of `context.incoming`'s images to refuse."""
