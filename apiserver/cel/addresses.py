"""IP addresses, networks and URLs in expressions: maps with one marked member.

Source: Kubernetes documentation, "Common Expression Language in Kubernetes": IP, CIDR and URL
libraries; upstream's texts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from cel_expr_python import cel

from apiserver.cel.rows import Row, can, plain

_T: Final = cel.Type
_IP, _CIDR, _URL = "net.IP", "net.CIDR", "k8s.URL"
_PATH_SAFE: Final = "/$&+,:;=@!*'()-_.~"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _parsed(text: str) -> Address:
    try:
        made = ipaddress.ip_address(text)
    except ValueError as error:
        raise ValueError(
            f'IP Address "{text:.64}" parse error during conversion from string: {error}'[:256]
        ) from error
    if isinstance(made, ipaddress.IPv6Address):
        if made.scope_id:
            raise ValueError(f'IP address "{text:.64}" with zone value is not allowed')
        if made.ipv4_mapped is not None:
            raise ValueError(f'IPv4-mapped IPv6 address "{text:.64}" is not allowed')
    return made


def _ip(text: Any) -> dict[str, str]:
    return {_IP: str(_parsed(str(text)))}


def _address(value: Any) -> Address:
    return ipaddress.ip_address(str(plain(value)[_IP]))


def _is_canonical(text: str) -> bool:
    return str(_parsed(text)) == text


def _is_global_unicast(value: Any) -> bool:
    """As Go's: private addresses count, those for one link, one host or many do not."""
    address = _address(value)
    if str(address) == "255.255.255.255":
        return False
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
    )


def _is_link_local_multicast(value: Any) -> bool:
    address = _address(value)
    wanted = "224.0.0.0/24" if address.version == 4 else "ff02::/16"
    if address.version == 6:
        return (int(address) >> 112) & 0xFF0F == 0xFF02
    return address in ipaddress.ip_network(wanted)


def _read_cidr(text: str) -> Interface:
    said = "network address parse error during conversion from string: "
    address, slash, bits = text.partition("/")
    if not slash or not bits.isdecimal() or (len(bits) > 1 and bits[0] == "0"):
        raise ValueError(f"{said}invalid prefix {text:.64}")
    try:
        _parsed(address)
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise ValueError(f"{said}{error}"[:256]) from error


def _cidr(text: Any) -> dict[str, str]:
    return {_CIDR: str(_read_cidr(str(text)))}


def _interface(value: Any) -> Interface:
    return ipaddress.ip_interface(str(plain(value)[_CIDR]))


def _contains_ip(net: Any, ip: Any) -> bool:
    inner = plain(ip)
    address = _parsed(inner) if isinstance(inner, str) else _address(inner)
    return address in _interface(net).network


def _contains_cidr(net: Any, other: Any) -> bool:
    inner, large = plain(other), _interface(net).network
    small = (_read_cidr(inner) if isinstance(inner, str) else _interface(inner)).network
    if isinstance(small, ipaddress.IPv4Network) and isinstance(large, ipaddress.IPv4Network):
        return small.subnet_of(large)
    if isinstance(small, ipaddress.IPv6Network) and isinstance(large, ipaddress.IPv6Network):
        return small.subnet_of(large)
    return False


def _text(value: Any) -> str:
    made = plain(value)
    return str(made.get(_IP) or made.get(_CIDR) or "")


def _url(text: Any) -> dict[str, str]:
    made = str(text)
    said = f'URL parse error during conversion from string: parse "{made:.64}"'
    try:
        parts = urlsplit(made)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{said}: {error}") from error
    if not parts.scheme and not parts.path.startswith("/"):
        raise ValueError(f"{said}: invalid URI for request")
    return {_URL: made}


def _parts(value: Any) -> SplitResult:
    return urlsplit(str(plain(value)[_URL]))


def _host(value: Any) -> str:
    return _parts(value).netloc.rpartition("@")[2]


def _escaped_path(value: Any) -> str:
    path = _parts(value).path
    return path if "%" in path else quote(unquote(path), safe=_PATH_SAFE)


def for_both(
    name: str, other: cel.Type, returns: cel.Type, function: Callable[..., Any]
) -> tuple[Row, Row]:
    """A member that takes one of its own kind, or a plain value.

    Nothing is dispatched on a parameter without a type.
    """
    return (
        (name, True, (_T.MAP, _T.MAP), returns, function),
        (name, True, (_T.MAP, other), returns, function),
    )


ADDRESSES: Final[tuple[Row, ...]] = (
    ("ip", False, (_T.STRING,), _T.DYN, _ip),
    ("isIP", False, (_T.STRING,), _T.BOOL, can(_ip)),
    ("ip.isCanonical", False, (_T.STRING,), _T.BOOL, _is_canonical),
    ("family", True, (_T.MAP,), _T.INT, lambda a: _address(a).version),
    ("isUnspecified", True, (_T.MAP,), _T.BOOL, lambda a: _address(a).is_unspecified),
    ("isLoopback", True, (_T.MAP,), _T.BOOL, lambda a: _address(a).is_loopback),
    ("isLinkLocalMulticast", True, (_T.MAP,), _T.BOOL, _is_link_local_multicast),
    ("isLinkLocalUnicast", True, (_T.MAP,), _T.BOOL, lambda a: _address(a).is_link_local),
    ("isGlobalUnicast", True, (_T.MAP,), _T.BOOL, _is_global_unicast),
    ("cidr", False, (_T.STRING,), _T.DYN, _cidr),
    ("isCIDR", False, (_T.STRING,), _T.BOOL, can(_cidr)),
    ("ip", True, (_T.MAP,), _T.DYN, lambda c: {_IP: str(_interface(c).ip)}),
    *for_both("containsIP", _T.STRING, _T.BOOL, _contains_ip),
    *for_both("containsCIDR", _T.STRING, _T.BOOL, _contains_cidr),
    ("prefixLength", True, (_T.MAP,), _T.INT, lambda c: _interface(c).network.prefixlen),
    ("masked", True, (_T.MAP,), _T.DYN, lambda c: {_CIDR: str(_interface(c).network)}),
    # See rewriting: `string` of an address, and of what an expression makes of one.
    ("k8sText", False, (_T.MAP,), _T.STRING, _text),
    ("k8sText", False, (_T.INT,), _T.STRING, str),
    ("k8sText", False, (_T.STRING,), _T.STRING, str),
    ("k8sText", False, (_T.BOOL,), _T.STRING, lambda value: "true" if value else "false"),
)
URLS: Final[tuple[Row, ...]] = (
    ("url", False, (_T.STRING,), _T.DYN, _url),
    ("isURL", False, (_T.STRING,), _T.BOOL, can(_url)),
    ("getScheme", True, (_T.MAP,), _T.STRING, lambda u: _parts(u).scheme),
    ("getHost", True, (_T.MAP,), _T.STRING, _host),
    ("getHostname", True, (_T.MAP,), _T.STRING, lambda u: _parts(u).hostname or ""),
    ("getPort", True, (_T.MAP,), _T.STRING, lambda u: str(_parts(u).port or "")),
    ("getEscapedPath", True, (_T.MAP,), _T.STRING, _escaped_path),
    (
        "getQuery",
        True,
        (_T.MAP,),
        _T.DYN,
        lambda u: parse_qs(_parts(u).query, keep_blank_values=True),
    ),
)
