"""Kubernetes' own functions of CEL, beside the language's and its string library.

Quantities, addresses, URLs and authorizers are maps with one marked member: the evaluator knows no
other values of ours. Left out: regular expressions' `find` and
`findAll`, `indexOf` of lists, semver.

Source: Kubernetes documentation, "Common Expression Language in Kubernetes": libraries.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from cel_expr_python import cel

from apiserver.cel.authorizer import AUTHORIZER
from kubraft.api.quantity import NANO, parse_quantity

_T: Final = cel.Type
_LIST: Final = _T.List(_T.DYN)
_QUANTITY, _IP, _CIDR, _URL = "k8s.Quantity", "net.IP", "net.CIDR", "k8s.URL"


def declarations() -> list[cel.FunctionDecl]:
    """All of them."""
    rows = (*_PATCHES, *_LISTS, *_SETS, *_QUANTITIES, *_ADDRESSES, *_URLS, *AUTHORIZER)
    names: dict[str, list[cel.Overload]] = {}
    for name, member, parameters, returns, function in rows:
        overloads = names.setdefault(name, [])
        overloads.append(
            cel.Overload(
                f"k8s_{name}_{len(overloads)}".replace(".", "_"),
                returns,
                list(parameters),
                member,
                function,
            )
        )
    return [cel.FunctionDecl(name, overloads) for name, overloads in names.items()]


def _plain(value: Any) -> Any:
    """A value without the evaluator's wrapping."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.plain_value() if hasattr(value, "plain_value") else value


def _least(pick: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    def function(items: Any) -> Any:
        plain = _plain(items)
        if not plain:
            raise ValueError("called on empty list")
        return pick(plain)

    return function


def _is_sorted(items: Any) -> bool:
    plain = _plain(items)
    return all(a <= b for a, b in pairwise(plain))


def _contains(all_: Any, some: Any) -> bool:
    inside = _plain(all_)
    return all(item in inside for item in _plain(some))


def _can(function: Callable[[Any], Any]) -> Callable[[Any], bool]:
    """Whether a function takes a value."""

    def asked(value: Any) -> bool:
        try:
            function(value)
        except ValueError:
            return False
        return True

    return asked


def _nano(value: Any) -> int:
    """A quantity, or a number, in units of 1e-9."""
    plain = _plain(value)
    return plain * NANO if isinstance(plain, int) else int(plain[_QUANTITY])


def _made(nano: int) -> dict[str, str]:
    return {_QUANTITY: str(nano)}


def _quantity(text: Any) -> dict[str, str]:
    return _made(parse_quantity(str(text)).nano)


def _compared(a: Any, b: Any) -> int:
    left, right = _nano(a), _nano(b)
    return (left > right) - (left < right)


def _ip(text: Any) -> dict[str, str]:
    return {_IP: str(ipaddress.ip_address(str(text)))}


def _address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(str(_plain(value)[_IP]))


def _cidr(text: Any) -> dict[str, str]:
    return {_CIDR: str(ipaddress.ip_interface(str(text)))}


def _interface(value: Any) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    return ipaddress.ip_interface(str(_plain(value)[_CIDR]))


def _contains_ip(net: Any, ip: Any) -> bool:
    inner = _plain(ip)
    text = inner if isinstance(inner, str) else str(inner[_IP])
    return ipaddress.ip_address(text) in _interface(net).network


def _contains_cidr(net: Any, other: Any) -> bool:
    inner = _plain(other)
    text = inner if isinstance(inner, str) else str(inner[_CIDR])
    small, large = ipaddress.ip_interface(text).network, _interface(net).network
    if isinstance(small, ipaddress.IPv4Network) and isinstance(large, ipaddress.IPv4Network):
        return small.subnet_of(large)
    if isinstance(small, ipaddress.IPv6Network) and isinstance(large, ipaddress.IPv6Network):
        return small.subnet_of(large)
    return False


def _url(text: Any) -> dict[str, str]:
    parts = urlsplit(str(text))
    if not parts.scheme and not parts.path.startswith("/"):
        raise ValueError(f"URL parse error during conversion from string: {text!s:.64}")
    return {_URL: str(text)}


def _parts(value: Any) -> SplitResult:
    return urlsplit(str(_plain(value)[_URL]))


def _host(value: Any) -> str:
    return _parts(value).netloc.rpartition("@")[2]


def _hostname(value: Any) -> str:
    return _parts(value).hostname or ""


def _port(value: Any) -> str:
    return str(_parts(value).port or "")


_Row = tuple[str, bool, tuple[cel.Type, ...], cel.Type, Callable[..., Any]]


def _for_both(
    name: str, other: cel.Type, returns: cel.Type, function: Callable[..., Any]
) -> tuple[_Row, _Row]:
    """A member that takes one of its own kind, or a plain value.

    Nothing is dispatched on a parameter without a type.
    """
    return (
        (name, True, (_T.MAP, _T.MAP), returns, function),
        (name, True, (_T.MAP, other), returns, function),
    )


_PATCHES: Final[tuple[_Row, ...]] = (
    (
        "jsonpatch.escapeKey",
        False,
        (_T.STRING,),
        _T.STRING,
        lambda key: key.replace("~", "~0").replace("/", "~1"),
    ),
)
_LISTS: Final[tuple[_Row, ...]] = (
    ("sum", True, (_LIST,), _T.DYN, lambda items: sum(_plain(items))),
    ("min", True, (_LIST,), _T.DYN, _least(min)),
    ("max", True, (_LIST,), _T.DYN, _least(max)),
    ("isSorted", True, (_LIST,), _T.BOOL, _is_sorted),
)
_SETS: Final[tuple[_Row, ...]] = (
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
        lambda a, b: any(item in _plain(a) for item in _plain(b)),
    ),
)
_QUANTITIES: Final[tuple[_Row, ...]] = (
    ("quantity", False, (_T.STRING,), _T.DYN, _quantity),
    ("isQuantity", False, (_T.STRING,), _T.BOOL, _can(_quantity)),
    ("isLessThan", True, (_T.MAP, _T.MAP), _T.BOOL, lambda a, b: _compared(a, b) < 0),
    ("isGreaterThan", True, (_T.MAP, _T.MAP), _T.BOOL, lambda a, b: _compared(a, b) > 0),
    ("compareTo", True, (_T.MAP, _T.MAP), _T.INT, _compared),
    *_for_both("add", _T.INT, _T.DYN, lambda a, b: _made(_nano(a) + _nano(b))),
    *_for_both("sub", _T.INT, _T.DYN, lambda a, b: _made(_nano(a) - _nano(b))),
    ("sign", True, (_T.MAP,), _T.INT, lambda a: (_nano(a) > 0) - (_nano(a) < 0)),
    ("isInteger", True, (_T.MAP,), _T.BOOL, lambda a: _nano(a) % NANO == 0),
    ("asInteger", True, (_T.MAP,), _T.INT, lambda a: _nano(a) // NANO),
    ("asApproximateFloat", True, (_T.MAP,), _T.DOUBLE, lambda a: _nano(a) / NANO),
)
_ADDRESSES: Final[tuple[_Row, ...]] = (
    ("ip", False, (_T.STRING,), _T.DYN, _ip),
    ("isIP", False, (_T.STRING,), _T.BOOL, _can(_ip)),
    ("family", True, (_T.MAP,), _T.INT, lambda a: _address(a).version),
    ("isUnspecified", True, (_T.MAP,), _T.BOOL, lambda a: _address(a).is_unspecified),
    ("isLoopback", True, (_T.MAP,), _T.BOOL, lambda a: _address(a).is_loopback),
    ("cidr", False, (_T.STRING,), _T.DYN, _cidr),
    ("isCIDR", False, (_T.STRING,), _T.BOOL, lambda t: "/" in t and _can(_cidr)(t)),
    *_for_both("containsIP", _T.STRING, _T.BOOL, _contains_ip),
    *_for_both("containsCIDR", _T.STRING, _T.BOOL, _contains_cidr),
    ("prefixLength", True, (_T.MAP,), _T.INT, lambda c: _interface(c).network.prefixlen),
    ("masked", True, (_T.MAP,), _T.DYN, lambda c: {_CIDR: str(_interface(c).network)}),
)
_URLS: Final[tuple[_Row, ...]] = (
    ("url", False, (_T.STRING,), _T.DYN, _url),
    ("isURL", False, (_T.STRING,), _T.BOOL, _can(_url)),
    ("getScheme", True, (_T.MAP,), _T.STRING, lambda u: _parts(u).scheme),
    ("getHost", True, (_T.MAP,), _T.STRING, _host),
    ("getHostname", True, (_T.MAP,), _T.STRING, _hostname),
    ("getPort", True, (_T.MAP,), _T.STRING, _port),
    ("getEscapedPath", True, (_T.MAP,), _T.STRING, lambda u: _parts(u).path),
    ("getQuery", True, (_T.MAP,), _T.DYN, lambda u: parse_qs(_parts(u).query)),
)
