"""Bounds of options in their annotations: `Annotated[int, Field(ge=1)]`, or `Count`, on an option refuses 0.

One mechanism for both ways to construct a plug-in. From a scenario, the catalogue checks all options against the model
made here. Constructed in Python, a class checks its bounded options itself when its kind's base class is `Bounded`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from simulator.scenario.sentences import sentences, shown

#: whole numbers that every store and table can hold
LARGEST = 2**63 - 1

Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]  # (0, 1]
InnerShare = Annotated[float, Field(gt=0, lt=1)]  # (0, 1)


_NUMBERS = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)


class Bounded:
    """Base class whose subclasses check the bounds of the keyword-only options given to their constructors.

    >>> class Noise(Bounded):
    ...     def __init__(self, *, std: NonNegative = 0.1) -> None:
    ...         self.std = std
    >>> Noise(std=0.5).std
    0.5
    >>> Noise(std=-1.0)
    Traceback (most recent call last):
    ValueError: expected std to be at least 0.0, got -1.0; raise it

    Options without a bound or choices (`Literal`) are not checked; no value is converted. What relates two options to
    each other stays in the constructor. A dataclass with its own `__post_init__` calls `super().__post_init__()` in it.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            cls.__init__ = _checking(cls.__init__)  # type: ignore[method-assign]

    def __post_init__(self) -> None:  # of subclasses that are dataclasses: they get their `__init__` later
        check_bounds(type(self), vars(self))


def check_bounds(member: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise `ValueError` when a value of `given` is outside the bounds that `member` annotates the option with."""
    model = _bounds(member)
    if model is None:
        return
    bounded = {field.alias for field in model.model_fields.values()}
    try:
        model.model_validate({name: value for name, value in given.items() if name in bounded})
    except ValidationError as error:
        raise ValueError("\n".join(sentences(error, given))) from error


def unusable_number(value: Any, key: str) -> str | None:
    """Return a sentence on the first number in JSON `value`, found under `key`, that no store can hold; else None."""
    if isinstance(value, Mapping):
        parts = ((part, f"{key}.{name}") for name, part in value.items())
    elif isinstance(value, list | tuple):
        parts = ((part, f"{key}.{place}") for place, part in enumerate(value))
    elif isinstance(value, int) and abs(value) > LARGEST:
        return f"expected {key} to be between -{LARGEST} and {LARGEST}, got a number outside; correct it"
    elif isinstance(value, float) and not math.isfinite(value):
        return f"expected {key} to be a finite number, got {shown(value)}; write one"
    else:
        return None
    return next(filter(None, (unusable_number(part, name) for part, name in parts)), None)


def options_model(options: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
    """Return a model of options, name -> (type, default), that validates them under their names as aliases.

    The field of the option `name` is `option_name`: an option may be called what a pydantic model has an attribute for.
    """
    fields = {f"option_{name}": (hint, Field(default, alias=name)) for name, (hint, default) in options.items()}
    return create_model("Options", __config__=_NUMBERS, **fields)  # type: ignore[call-overload,no-any-return]


def option_types(member: Callable[..., Any], *, bounds: bool) -> dict[str, Any]:
    """Return the types of a class's or function's options; with `bounds`, they keep what `Annotated` says of them."""
    if inspect.isclass(member):
        owner = next(base for base in member.__mro__ if "__init__" in vars(base))
        if "__dataclass_fields__" in vars(owner):
            # it may inherit fields whose types its own module does not know; the class's annotations resolve there
            with suppress(NameError):  # of an annotation that is no option's
                return get_type_hints(owner, include_extras=bounds)
        member = vars(owner)["__init__"]
    return get_type_hints(member, include_extras=bounds)


def _checking(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)  # keeps the signature, which is the plug-in's schema
    def checked(self: Any, *args: Any, **given: Any) -> None:
        check_bounds(init, given)
        init(self, *args, **given)

    return checked


@functools.cache
def _bounds(member: Callable[..., Any]) -> type[BaseModel] | None:
    """Return the model of the keyword-only options that are annotated with a bound; None where there are none."""
    try:
        hints = option_types(member, bounds=True)
    except (NameError, TypeError):  # names that are unknown at run time: the catalogue refuses such a plug-in
        return None
    parameters = inspect.signature(member).parameters.values()
    named = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name in hints]
    bounded = {name: (hints[name], None) for name in named if _has_bound(hints[name])}
    return options_model(bounded) if bounded else None


def _has_bound(hint: Any) -> bool:
    return get_origin(hint) in (Annotated, Literal) or any(_has_bound(part) for part in get_args(hint))
