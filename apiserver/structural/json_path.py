r"""The part of JSONPath that printer columns and selectable fields use.

    .spec.replicas        .status.conditions[0].type    .metadata.labels['a.b/c']
    .spec.items[*].name   .status.conditions[?(@.type=="Ready")].status   .metadata.labels.a\.b

Source: Kubernetes documentation, "JSONPath Support".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>(?:[^.\[\\]|\\.)+)
      | \[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]
      | \[\?\(\s*@\.(?P<key>[\w.-]+)\s*(?P<operator>==|!=)\s*
            (?P<value>"[^"]*"|'[^']*'|[^\s)]+)\s*\)\]
    """,
    re.VERBOSE,
)
CHARS_MAX = 1024

Step = Callable[[Iterable[Any]], Iterable[Any]]
Path = tuple[Step, ...]


def compile_path(text: str) -> Path:
    """Read a path.

    Raises:
        ValueError: it is none of the form above.
    """
    if len(text) > CHARS_MAX:
        raise ValueError("the path is too long")
    steps: list[Step] = []
    at = 0
    while at < len(text) and text[at:] != ".":
        match = _STEP.match(text, at)
        if match is None:
            raise ValueError(f"unrecognized path at {text[at:]!r}")
        steps.append(_step(match))
        at = match.end()
    return tuple(steps)


def find(path: Path, value: Any) -> list[Any]:
    """What the path leads to in `value`, in order; what is not there is left out."""
    found: Iterable[Any] = (value,)
    for step in path:
        found = step(found)
    return list(found)


def _step(match: re.Match[str]) -> Step:
    if match["name"] is not None:
        name = re.sub(r"\\(.)", r"\1", match["name"])
        return _every if name == "*" else _named(name)
    if match["quoted"] is not None:
        return _named(match["quoted"])
    if match["index"] is not None:
        return _indexed(int(match["index"]))
    if match["all"]:
        return _every
    wanted = match["value"].strip("\"'")
    return _filtered(match["key"].split("."), wanted, equal=match["operator"] == "==")


def _named(name: str) -> Step:
    return lambda values: (v[name] for v in values if isinstance(v, dict) and name in v)


def _indexed(index: int) -> Step:
    def step(values: Iterable[Any]) -> Iterable[Any]:
        for value in values:
            if isinstance(value, list) and -len(value) <= index < len(value):
                yield value[index]

    return step


def _every(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, list):
            yield from value


def _filtered(keys: list[str], wanted: str, *, equal: bool) -> Step:
    def fits(item: Any) -> bool:
        for key in keys:
            if not isinstance(item, dict) or key not in item:
                return False
            item = item[key]
        text = str(item).lower() if isinstance(item, bool) else str(item)
        return (text == wanted) is equal

    def step(values: Iterable[Any]) -> Iterable[Any]:
        for value in values:
            if isinstance(value, list):
                yield from (item for item in value if fits(item))

    return step
