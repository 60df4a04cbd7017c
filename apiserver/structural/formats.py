"""The formats of strings that schemas may ask for; others are not looked at, as upstream.

Source: upstream's list of supported formats of custom resources; RFC 3339, RFC 1034, RFC 4122.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import ipaddress
import re
from collections.abc import Callable
from email.utils import parseaddr
from urllib.parse import urlsplit

_HEX = "[0-9a-f]"
_UUID = rf"{_HEX}{{8}}-?{_HEX}{{4}}-?%s-?%s-?{_HEX}{{12}}"
_GO_DURATION = r"[-+]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+"
_SCALA_UNITS = (
    "d|day|days|h|hour|hours|m|min|minute|minutes|s|sec|second|seconds|ms|milli|millis|"
    "millisecond|milliseconds|us|micro|micros|microsecond|microseconds|ns|nano|nanos|"
    "nanosecond|nanoseconds|w|wk|week|weeks|hr|hrs|mins|secs|\u00b5s"
)
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOST_LABEL = r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_PATTERNS = {
    "bsonobjectid": r"(?i)[0-9a-f]{24}",
    "hostname": rf"{_HOST_LABEL}(\.{_HOST_LABEL})*\.?",
    "mac": r"(?i)([0-9a-f]{2}[:-]){5,19}[0-9a-f]{2}|([0-9a-f]{4}\.){2,9}[0-9a-f]{4}",
    "uuid": "(?i)" + _UUID % (f"{_HEX}{{4}}", f"{_HEX}{{4}}"),
    "uuid3": "(?i)" + _UUID % (f"3{_HEX}{{3}}", f"{_HEX}{{4}}"),
    "uuid4": "(?i)" + _UUID % (f"4{_HEX}{{3}}", f"[89ab]{_HEX}{{3}}"),
    "uuid5": "(?i)" + _UUID % (f"5{_HEX}{{3}}", f"[89ab]{_HEX}{{3}}"),
    "creditcard": (
        r"4[0-9]{12}([0-9]{3})?|5[1-5][0-9]{14}|6(011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|"
        r"3(0[0-5]|[68][0-9])[0-9]{11}|(2131|1800|35\d{3})\d{11}"
    ),
    "ssn": r"\d{3}[- ]?\d{2}[- ]?\d{4}",
    "hexcolor": r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})",
    "rgbcolor": r"rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)",
    "duration": rf"{_GO_DURATION}|\s*\d+(\.\d+)?\s*({_SCALA_UNITS})\s*",
    "datetime": (r"\d{4}-\d{2}-\d{2}([Tt]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([zZ]|[-+]\d{2}:?\d{2})?)"),
    "k8sshortname": rf"(?=.{{1,63}}$){_LABEL}",
    "k8slongname": rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*",
}
_COMPILED = {name: re.compile(pattern, re.ASCII) for name, pattern in _PATTERNS.items()}
# No text of any of these formats that somebody means is longer; the rest is not looked at.
_CHARS_MAX = 4096


def normal(name: str) -> str:
    """A format's name as it is looked up: "date-time" is "datetime"."""
    return name.replace("-", "")


def is_supported(type_: str, name: str) -> bool:
    """Whether a schema of that type may ask for the format and be heard."""
    if type_ == "integer":
        return name in ("int32", "int64")
    if type_ == "number":
        return name in ("float", "double")
    return type_ in ("", "string") and (
        normal(name) in _COMPILED or normal(name) in _CHECKS or normal(name) == "password"
    )


def fits(name: str, text: str) -> bool:
    """Whether `text` has the format; True for formats that are not supported."""
    name = normal(name)
    if (check := _CHECKS.get(name)) is not None:
        try:
            return len(text) <= _CHARS_MAX * 256 and check(text)
        except ValueError:
            return False
    if (pattern := _COMPILED.get(name)) is None:
        return True
    if name == "creditcard":
        text = re.sub(r"\D", "", text)
    return len(text) <= _CHARS_MAX and pattern.fullmatch(text) is not None


def _ipv4(text: str) -> bool:
    ipaddress.IPv4Address(text)
    return True


def _ipv6(text: str) -> bool:
    ipaddress.IPv6Address(text)
    return True


def _cidr(text: str) -> bool:
    if "/" not in text:
        return False
    ipaddress.ip_interface(text)
    return True


def _byte(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True


def _date(text: str) -> bool:
    dt.date.fromisoformat(text)
    return re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII) is not None


def _uri(text: str) -> bool:
    if not text or any(sign.isspace() or not sign.isprintable() for sign in text):
        return False
    parts = urlsplit(text)
    return bool(parts.scheme) or text.startswith("/")


def _email(text: str) -> bool:
    _, address = parseaddr(text)
    local, at, domain = address.rpartition("@")
    return bool(at and local and domain)


def _isbn10(text: str) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    if not re.fullmatch(r"\d{9}[\dX]", digits, re.ASCII):
        return False
    values = [10 if sign == "X" else int(sign) for sign in digits]
    return sum(value * (index + 1) for index, value in enumerate(values)) % 11 == 0


def _isbn13(text: str) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    if not re.fullmatch(r"\d{13}", digits, re.ASCII):
        return False
    return sum(int(sign) * (3 if index % 2 else 1) for index, sign in enumerate(digits)) % 10 == 0


def _isbn(text: str) -> bool:
    return _isbn10(text) or _isbn13(text)


_CHECKS: dict[str, Callable[[str], bool]] = {
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "cidr": _cidr,
    "byte": _byte,
    "date": _date,
    "uri": _uri,
    "email": _email,
    "isbn": _isbn,
    "isbn10": _isbn10,
    "isbn13": _isbn13,
}
