"""Where flags come from: the command line, `ETCD_` variables, or one configuration file.

`--flag value`, `--flag=value`, one dash or two. A flag and its variable may not both be set; with
`--config-file` nothing else counts. Source: etcd, server/etcdmain (config.go), pkg/flags (flag.go).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubraft.api.duration import parse_duration
from store import config_file, flag_table
from store.flag_error import FlagError, UsageError
from store.flag_table import Fate, Flag

_PREFIX = "ETCD_"
# What Kubernetes sets for a Service named etcd, and what images and etcd itself set.
_NOT_OURS = re.compile(r"ETCD_(VERSION|VER|UNSUPPORTED_ARCH|PEER_PORT|PORT(_.*)?|SERVICE_.*)")
_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Raw values by name of those flags that are set; older names replaced by the newest.

    Args:
        arguments: the command line without the program.
        environment: all variables.

    Raises:
        FlagError: a flag that is unknown or not supported, set twice, or a stray argument.
    """
    given = _from_arguments(arguments)
    path = given.get("config-file") or environment.get(f"{_PREFIX}CONFIG_FILE")
    if path:
        found = {**config_file.read(Path(path)), "config-file": path}
    else:
        found = {**_from_environment(environment, given), **given}
    for name, value in found.items():
        flag = flag_table.find(name)
        if flag is not None:
            _check_fate(flag, name, value)
    return found


def without_effect(raw: Mapping[str, str]) -> tuple[str, ...]:
    """The flags among `raw` that are read in vain."""
    found = (flag_table.find(name) for name in raw)
    return tuple(sorted(flag.name for flag in found if flag and flag.fate is Fate.IGNORED))


def _from_arguments(arguments: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = list(reversed(arguments))
    while rest:
        argument = rest.pop()
        if not argument.startswith("-") or argument in {"-", "--"}:
            raise FlagError(f"'{argument}' is not a valid flag")
        dashed, equals, value = argument.partition("=")
        name = dashed.removeprefix("-").removeprefix("-")
        flag = flag_table.find(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if flag.switch and not equals:
            value = "true"
        elif not equals and not rest:
            raise UsageError(f"flag needs an argument: -{name}")
        elif not equals:
            value = rest.pop()
        found[flag.name] = value
    return found


def _from_environment(environment: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    known = {_variable(name): flag for flag in flag_table.FLAGS.values() for name in _names(flag)}
    found: dict[str, str] = {}
    for variable, value in sorted(environment.items()):
        if not variable.startswith(_PREFIX) or not value:
            continue
        flag = known.get(variable)
        if flag is None:
            if _NOT_OURS.fullmatch(variable):
                continue
            raise FlagError(f"unrecognized environment variable {variable}")
        if flag.name in given:
            raise FlagError(
                f"conflicting environment variable {variable} is shadowed by corresponding "
                "command-line flag (either unset environment variable or disable flag)"
            )
        found[flag.name] = value
    return found


def _names(flag: Flag) -> tuple[str, ...]:
    return (flag.name, *flag.twins)


def _variable(name: str) -> str:
    return _PREFIX + name.upper().replace("-", "_")


def _check_fate(flag: Flag, name: str, value: str) -> None:
    if flag.switch:
        value = str(boolean(name, value)).lower()
    if flag.fate is Fate.REFUSED and value not in flag.off:
        raise FlagError(f"--{name}: not supported: {flag.why}")


# Values.


def gates(text: str) -> frozenset[str]:
    """The gates that are switched on.

    Raises:
        FlagError: there is none of that name.
    """
    found: dict[str, bool] = {}
    for pair in words(text):
        gate, equals, value = pair.partition("=")
        if not equals or gate not in flag_table.GATES:
            raise FlagError(f"--feature-gates: unrecognized feature gate: {gate}")
        found[gate] = boolean("feature-gates", value)
    return frozenset(gate for gate, on in found.items() if on)


def boolean(name: str, text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise UsageError(f"--{name}: {text!r} is neither true nor false")
    return value


def integer(name: str, text: str, *, least: int | None = None) -> int:
    try:
        value = int(text)
    except ValueError:
        raise UsageError(f"--{name}: {text!r} is not a number") from None
    if least is not None and value < least:
        raise FlagError(f"--{name}: {value} is below {least}")
    return value


def duration_s(name: str, text: str) -> float:
    """A Go duration such as `1h30m` or `500ms`, in seconds."""
    try:
        return parse_duration(text)
    except ValueError:
        raise UsageError(f"--{name}: {text!r} is not a duration such as 5m or 500ms") from None


def words(text: str) -> tuple[str, ...]:
    """The parts of a list with commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
