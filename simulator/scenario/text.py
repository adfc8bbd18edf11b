"""YAML for scenarios: plain values only, every key once, mistakes reported with their line."""

from __future__ import annotations

import re
from typing import Any

import yaml

from simulator.errors import ScenarioError
from simulator.scenario.limits import require_bounded, require_text

_TAG = "tag:yaml.org,2002:"
#: YAML 1.2's plain scalars. PyYAML's own 1.1 rules read `no` as false, `1:30` as 90 and `1e-3` as text.
_SCALARS = {
    "null": re.compile(r"^(?:~|null|Null|NULL|)$"),
    "bool": re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    "int": re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"),
    "float": re.compile(
        r"^[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
    ),
    "merge": re.compile(r"^<<$"),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {None: [(_TAG + name, pattern) for name, pattern in _SCALARS.items()]}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _TAG + "merge":
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                raise ScenarioError(
                    f"expected every key once, got '{key.value}' in lines {first[key.value]} and {line}; remove one"
                )
            first[key.value] = line
        return super().construct_mapping(node, deep)


def parse(text: str, where: str) -> Any:
    """Return the JSON value that `text` holds, or raise `ScenarioError`; `where` names the text in its sentence.

    Mappings may have whole numbers as keys (they become text, as in JSON); any other key that is not text is refused,
    and so are tags that would make anything but plain values, text that no file name can hold, and what would take
    unbounded time or memory: texts over 250,000 characters, deep nesting, aliases of aliases.
    """
    try:
        require_bounded(text)
        value = yaml.load(text, Loader=_Loader)  # a SafeLoader, with narrower scalars
    except ScenarioError as error:  # a finished sentence of the loader
        raise ScenarioError(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{where}: expected YAML, got {_fault(error)}; correct it") from None
    except RecursionError:
        raise ScenarioError(f"{where}: expected YAML, got mappings nested without end; flatten them") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):  # PyYAML's, of a tag such as `!!int 'abc'`
        raise ScenarioError(
            f"{where}: expected YAML, got a value that its tag or its length does not fit; write it without a tag"
        ) from None
    return _plain(value, where, ())


def _fault(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(error).split())


def _plain(value: Any, where: str, above: tuple[int, ...]) -> Any:
    if id(value) in above:
        raise ScenarioError(f"{where}: expected plain values, got an anchor inside itself; remove it")
    if isinstance(value, dict):
        return {_key(key, where): _plain(item, where, (*above, id(value))) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, where, (*above, id(value))) for item in value]
    if isinstance(value, str):
        require_text(value, where)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ScenarioError(f"{where}: expected whole numbers of at most 18 digits, got a longer one; shorten it")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ScenarioError(
        f"{where}: expected plain values, got {type(value).__name__} {value!r}; write text, numbers, lists and mappings"
    )


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        require_text(key, where)
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    raise ScenarioError(f"{where}: expected keys to be text, got {key!r}; put it in quotes")
