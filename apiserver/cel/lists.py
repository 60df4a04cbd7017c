"""Lists and sets in expressions.

Source: Kubernetes documentation, "Common Expression Language in Kubernetes": list library; cel-go,
package ext (lists, sets).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from cel_expr_python import cel

from apiserver.cel.rows import Row, plain

_T: Final = cel.Type
_LIST: Final = _T.List(_T.DYN)
RANGE_MAX: Final = 10_000


def _least(name: str, pick: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    def function(items: Any) -> Any:
        made = plain(items)
        if not made:
            raise ValueError(f"{name} called on empty list")
        return pick(made)

    return function


def _is_sorted(items: Any) -> bool:
    return all(a <= b for a, b in pairwise(plain(items)))


def _contains(all_: Any, some: Any) -> bool:
    inside = plain(all_)
    return all(item in inside for item in plain(some))


def _index(items: Any, item: Any) -> int:
    made, wanted = plain(items), plain(item)
    return made.index(wanted) if wanted in made else -1


def _last_index(items: Any, item: Any) -> int:
    made, wanted = plain(items), plain(item)
    return len(made) - 1 - made[::-1].index(wanted) if wanted in made else -1


def _find(text: str, part: str, start: int = 0) -> int:
    if not 0 <= start <= len(text):
        raise ValueError(f"index out of range: {start}")
    return text.find(part, start)


def _find_last(text: str, part: str, end: int | None = None) -> int:
    if end is None:
        return text.rfind(part)
    if not 0 <= end <= len(text):
        raise ValueError(f"index out of range: {end}")
    return text.rfind(part, 0, end + len(part))


def _slice(items: Any, start: int, end: int) -> Any:
    made = plain(items)
    if start < 0 or end < 0:
        raise ValueError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise ValueError(f"cannot slice({start}, {end}), start index must be less than or equal "
                         "to end index")  # fmt: skip
    if end > len(made):
        raise ValueError(f"cannot slice({start}, {end}), list is length {len(made)}")
    return made[start:end]


def _flatten(items: Any, depth: int = 1) -> list[Any]:
    if depth < 0:
        raise ValueError("level must be non-negative")
    result: list[Any] = []
    for item in plain(items):
        result += _flatten(item, depth - 1) if isinstance(item, list) and depth else [item]
    return result


def _distinct(items: Any) -> list[Any]:
    result: list[Any] = []
    for item in plain(items):
        if item not in result:
            result.append(item)
    return result


def _range(count: int) -> list[int]:
    if not 0 <= count <= RANGE_MAX:
        raise ValueError(f"lists.range: {count} is out of range")
    return list(range(count))


def _sorted(items: Any) -> list[Any]:
    try:
        return sorted(plain(items))
    except TypeError as error:
        raise ValueError("list elements must be comparable") from error


LISTS: Final[tuple[Row, ...]] = (
    ("sum", True, (_LIST,), _T.DYN, lambda items: sum(plain(items))),
    ("min", True, (_LIST,), _T.DYN, _least("min", min)),
    ("max", True, (_LIST,), _T.DYN, _least("max", max)),
    ("isSorted", True, (_LIST,), _T.BOOL, _is_sorted),
    *(
        ("k8sIndexOf", True, (_LIST, type_), _T.INT, _index)
        for type_ in (_T.STRING, _T.INT, _T.DOUBLE, _T.BOOL, _T.MAP, _T.List(_T.DYN), _T.NULL)
    ),
    *(
        ("k8sLastIndexOf", True, (_LIST, type_), _T.INT, _last_index)
        for type_ in (_T.STRING, _T.INT, _T.DOUBLE, _T.BOOL, _T.MAP, _T.List(_T.DYN), _T.NULL)
    ),
    ("k8sIndexOf", True, (_T.STRING, _T.STRING), _T.INT, _find),
    ("k8sIndexOf", True, (_T.STRING, _T.STRING, _T.INT), _T.INT, _find),
    ("k8sLastIndexOf", True, (_T.STRING, _T.STRING), _T.INT, _find_last),
    ("k8sLastIndexOf", True, (_T.STRING, _T.STRING, _T.INT), _T.INT, _find_last),
    ("slice", True, (_LIST, _T.INT, _T.INT), _LIST, _slice),
    ("flatten", True, (_LIST,), _LIST, _flatten),
    ("flatten", True, (_LIST, _T.INT), _LIST, _flatten),
    ("distinct", True, (_LIST,), _LIST, _distinct),
    ("sort", True, (_LIST,), _LIST, _sorted),
    ("k8sReverse", True, (_LIST,), _LIST, lambda items: plain(items)[::-1]),
    ("lists.range", False, (_T.INT,), _LIST, _range),
)
SETS: Final[tuple[Row, ...]] = (
    ("sets.contains", False, (_LIST, _LIST), _T.BOOL, _contains),
    (
        "sets.equivalent",
        False,
        (_LIST, _LIST),
        _T.BOOL,
        lambda a, b: _contains(a, b) and _contains(b, a),
    ),
    (
        "sets.intersects",
        False,
        (_LIST, _LIST),
        _T.BOOL,
        lambda a, b: any(item in plain(a) for item in plain(b)),
    ),
)
