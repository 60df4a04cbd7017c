"""Regular expressions, named formats and semantic versions in expressions.

Source: Kubernetes documentation, "Common Expression Language in Kubernetes": regex, format and
semver libraries; semver.org.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from cel_expr_python import cel

from apiserver.cel.rows import Row, can, plain
from apiserver.structural import formats, pattern
from kubraft.api import names

_T: Final = cel.Type
FOUND_MAX: Final = 10_000
SEMVER = "k8s.Semver"
_FORMAT: Final = "k8s.NamedFormat"
_NUMBER = r"(0|[1-9]\d*)"
_IDENTIFIER = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)


def _find(text: str, wanted: str) -> str:
    return next(iter(pattern.find_all(wanted, text, 1)), "")


def _find_all(text: str, wanted: str, most: int = -1) -> list[str]:
    return pattern.find_all(wanted, text, most if 0 <= most < FOUND_MAX else FOUND_MAX)


def _unprefixed(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """A check of prefixes, which may end in a dash."""
    return lambda text: check(text[:-1] + "a" if text.endswith("-") else text)


def _as_format(name: str, message: str) -> Callable[[str], list[str]]:
    return lambda text: [] if formats.fits(name, text) else [message]


_CHECKS: Final[dict[str, Callable[[str], list[str]]]] = {
    "dns1123Label": names.dns1123_label_errors,
    "dns1123Subdomain": names.dns1123_subdomain_errors,
    "dns1035Label": names.dns1035_label_errors,
    "qualifiedName": names.qualified_name_errors,
    "dns1123LabelPrefix": _unprefixed(names.dns1123_label_errors),
    "dns1123SubdomainPrefix": _unprefixed(names.dns1123_subdomain_errors),
    "dns1035LabelPrefix": _unprefixed(names.dns1035_label_errors),
    "labelValue": names.label_value_errors,
    "uri": _as_format("uri", "invalid URI for request"),
    "uuid": _as_format("uuid", "does not match the UUID format"),
    "byte": _as_format("byte", "invalid base64"),
    "date": _as_format("date", "invalid date"),
    "datetime": _as_format("datetime", "invalid datetime"),
}


def _constant(name: str) -> Callable[[], dict[str, str]]:
    return lambda: {_FORMAT: name}


def _named(name: str) -> list[dict[str, str]]:
    return [{_FORMAT: name}] if name in _CHECKS else []


def _validate(made: Any, text: str) -> list[list[str]]:
    errors = _CHECKS[str(plain(made)[_FORMAT])](text)
    return [errors] if errors else []


def _semver(text: str, normalize: bool = False) -> dict[str, str]:  # noqa: FBT001, FBT002 - theirs
    if normalize:
        text = text.strip().removeprefix("v")
        core, sign, rest = re.match(r"([^-+]*)([-+]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        parts = [part.lstrip("0") or "0" for part in core.split(".")]
        text = ".".join(parts + ["0"] * (3 - len(parts))) + sign + rest
    if _SEMVER.fullmatch(text) is None:
        raise ValueError(f"No Major.Minor.Patch elements found in {text!r:.64}")
    return {SEMVER: text}


def _versions(value: Any) -> tuple[list[int], list[str]]:
    found = _SEMVER.fullmatch(str(plain(value)[SEMVER]))
    assert found is not None
    return [int(part) for part in found.groups()[:3]], found[4].split(".") if found[4] else []


def compare_semver(a: Any, b: Any) -> int:
    """-1, 0 or 1; what is a pre-release comes before its release, and builds do not count."""
    (left, before), (right, after) = _versions(a), _versions(b)
    if left != right or not (before and after):
        first, second = (left, not before), (right, not after)
        return (first > second) - (first < second)

    def key(parts: list[str]) -> list[tuple[int, int, str]]:
        return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]

    return (key(before) > key(after)) - (key(before) < key(after))


TEXTS: Final[tuple[Row, ...]] = (
    ("find", True, (_T.STRING, _T.STRING), _T.STRING, _find),
    ("findAll", True, (_T.STRING, _T.STRING), _T.List(_T.STRING), _find_all),
    ("findAll", True, (_T.STRING, _T.STRING, _T.INT), _T.List(_T.STRING), _find_all),
    *((f"format.{name}", False, (), _T.DYN, _constant(name)) for name in _CHECKS),
    ("format.k8sNamed", False, (_T.STRING,), _T.List(_T.DYN), _named),
    ("k8sValidate", True, (_T.MAP, _T.STRING), _T.List(_T.List(_T.STRING)), _validate),
    ("semver", False, (_T.STRING,), _T.DYN, _semver),
    ("semver", False, (_T.STRING, _T.BOOL), _T.DYN, _semver),
    ("isSemver", False, (_T.STRING,), _T.BOOL, can(_semver)),
    ("isSemver", False, (_T.STRING, _T.BOOL), _T.BOOL, can(_semver)),
    ("major", True, (_T.MAP,), _T.INT, lambda v: _versions(v)[0][0]),
    ("minor", True, (_T.MAP,), _T.INT, lambda v: _versions(v)[0][1]),
    ("patch", True, (_T.MAP,), _T.INT, lambda v: _versions(v)[0][2]),
)
