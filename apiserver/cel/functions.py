"""Kubernetes' own functions of CEL, beside the language's and its string library.

Quantities, addresses, URLs, versions, formats and authorizers are maps with one marked member: the
evaluator knows no other values of ours.

Source: Kubernetes documentation, "Common Expression Language in Kubernetes": libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cel_expr_python import cel

from apiserver.cel.addresses import ADDRESSES, URLS, for_both
from apiserver.cel.authorizer import AUTHORIZER
from apiserver.cel.lists import LISTS, SETS
from apiserver.cel.meter import metered
from apiserver.cel.rows import Row, can, plain
from apiserver.cel.texts import SEMVER, TEXTS, compare_semver
from kubraft.api.quantity import NANO, parse_quantity

_T: Final = cel.Type
_QUANTITY: Final = "k8s.Quantity"


def declarations() -> list[cel.FunctionDecl]:
    """All of them."""
    rows = (*_PATCHES, *LISTS, *SETS, *_QUANTITIES, *ADDRESSES, *URLS, *TEXTS, *AUTHORIZER)
    names: dict[str, list[cel.Overload]] = {}
    for name, member, parameters, returns, function in rows:
        overloads = names.setdefault(name, [])
        overloads.append(
            cel.Overload(
                f"k8s_{name}_{len(overloads)}".replace(".", "_"),
                returns,
                list(parameters),
                member,
                metered(function),
            )
        )
    return [cel.FunctionDecl(name, overloads) for name, overloads in names.items()]


def _nano(value: Any) -> int:
    """A quantity, or a number, in units of 1e-9."""
    made = plain(value)
    return made * NANO if isinstance(made, int) else int(made[_QUANTITY])


def _made(nano: int) -> dict[str, str]:
    return {_QUANTITY: str(nano)}


def _quantity(text: Any) -> dict[str, str]:
    return _made(parse_quantity(str(text)).nano)


def _as_integer(value: Any) -> int:
    nano = _nano(value)
    if nano % NANO:
        raise ValueError("cannot convert value to integer")
    return nano // NANO


def _compared(a: Any, b: Any) -> int:
    """Of two quantities, or of two versions."""
    if SEMVER in plain(a):
        return compare_semver(a, b)
    left, right = _nano(a), _nano(b)
    return (left > right) - (left < right)


def _compares(wanted: int) -> Callable[[Any, Any], bool]:
    return lambda a, b: _compared(a, b) == wanted


_PATCHES: Final[tuple[Row, ...]] = (
    (
        "jsonpatch.escapeKey",
        False,
        (_T.STRING,),
        _T.STRING,
        lambda key: key.replace("~", "~0").replace("/", "~1"),
    ),
)
_QUANTITIES: Final[tuple[Row, ...]] = (
    ("quantity", False, (_T.STRING,), _T.DYN, _quantity),
    ("isQuantity", False, (_T.STRING,), _T.BOOL, can(_quantity)),
    ("isLessThan", True, (_T.MAP, _T.MAP), _T.BOOL, _compares(-1)),
    ("isGreaterThan", True, (_T.MAP, _T.MAP), _T.BOOL, _compares(1)),
    ("compareTo", True, (_T.MAP, _T.MAP), _T.INT, _compared),
    *for_both("add", _T.INT, _T.DYN, lambda a, b: _made(_nano(a) + _nano(b))),
    *for_both("sub", _T.INT, _T.DYN, lambda a, b: _made(_nano(a) - _nano(b))),
    ("sign", True, (_T.MAP,), _T.INT, lambda a: (_nano(a) > 0) - (_nano(a) < 0)),
    ("isInteger", True, (_T.MAP,), _T.BOOL, lambda a: _nano(a) % NANO == 0),
    ("asInteger", True, (_T.MAP,), _T.INT, _as_integer),
    ("asApproximateFloat", True, (_T.MAP,), _T.DOUBLE, lambda a: _nano(a) / NANO),
)
