"""Reading etcd's flags: `--flag value`, `--flag=value`, one dash or two, and `ETCD_FLAG` variables.

A flag on the command line beats its variable. Source: etcd, server/etcdmain (help.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kubraft.api.duration import parse_duration

ENVIRONMENT_PREFIX = "ETCD_"

_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


class FlagError(ValueError):
    """A flag is unknown, incomplete or wrong; the message names it."""


def read(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    values: Iterable[str],
    booleans: Iterable[str],
) -> dict[str, str]:
    """Raw values by flag name, of those flags that are set.

    Args:
        arguments: the command line without the program.
        environment: variables; only those of known flags count.
        values: names of flags that take a value.
        booleans: names of flags that may stand alone, meaning true.

    Raises:
        FlagError: a flag that is neither, a value that is missing, or a stray argument.
    """
    known_values, known_booleans = set(values), set(booleans)
    found = _from_environment(environment, known_values | known_booleans)
    rest = list(reversed(arguments))
    while rest:
        argument = rest.pop()
        if not argument.startswith("-") or argument in {"-", "--"}:
            raise FlagError(f"unexpected argument {argument!r}")
        name, equals, value = argument.lstrip("-").partition("=")
        if name in known_booleans:
            found[name] = value if equals else "true"
        elif name not in known_values:
            raise FlagError(f"unknown flag --{name}")
        elif equals:
            found[name] = value
        elif rest:
            found[name] = rest.pop()
        else:
            raise FlagError(f"--{name}: needs a value")
    return found


def _from_environment(environment: Mapping[str, str], names: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in sorted(names):
        value = environment.get(ENVIRONMENT_PREFIX + name.upper().replace("-", "_"))
        if value is not None:
            found[name] = value
    return found


def boolean(name: str, text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise FlagError(f"--{name}: {text!r} is neither true nor false")
    return value


def integer(name: str, text: str, *, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise FlagError(f"--{name}: {text!r} is not a number") from None
    if value < least:
        raise FlagError(f"--{name}: {value} is below {least}")
    return value


def duration_s(name: str, text: str) -> float:
    """A Go duration such as `1h30m` or `500ms`, in seconds."""
    try:
        return parse_duration(text)
    except ValueError:
        raise FlagError(f"--{name}: {text!r} is not a duration such as 5m or 500ms") from None


def urls(name: str, text: str) -> tuple[str, ...]:
    """Comma-separated http or https URLs with host and port."""
    found = tuple(url.strip().rstrip("/") for url in text.split(",") if url.strip())
    if not found:
        raise FlagError(f"--{name}: no URL given")
    for url in found:
        host_and_port(name, url)
    return found


def host_and_port(name: str, url: str) -> str:
    """`host:port` of a URL."""
    scheme, separator, rest = url.partition("://")
    _, colon, port = rest.rpartition(":")
    if not separator or scheme not in {"http", "https"}:
        raise FlagError(f"--{name}: {url!r} does not begin with http:// or https://")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise FlagError(f"--{name}: {url!r} has no port")
    return rest
