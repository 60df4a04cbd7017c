"""`--config-file`: etcd's YAML, read into the values of flags.

Keys are the names of flags; those of TLS stand in two sections. A number where a span of time
belongs counts nanoseconds, as in etcd; unlike there, a text such as `10m` will do, too.
Source: etcd, server/embed (config.go: configYAML, securityConfig).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from store import flag_table
from store.flag_error import FlagError
from store.member_error import cause_of

_BYTES_MAX = 1 << 20
_SECTIONS: dict[str, dict[str, str]] = {
    "client-transport-security": {
        "cert-file": "cert-file",
        "key-file": "key-file",
        "client-cert-file": "client-cert-file",
        "client-key-file": "client-key-file",
        "client-cert-auth": "client-cert-auth",
        "trusted-ca-file": "trusted-ca-file",
        "auto-tls": "auto-tls",
        "allowed-cn": flag_table.CLIENT_CN.name,
        "allowed-hostname": "client-cert-allowed-hostname",
    },
    "peer-transport-security": {
        "cert-file": "peer-cert-file",
        "key-file": "peer-key-file",
        "client-cert-file": "peer-client-cert-file",
        "client-key-file": "peer-client-key-file",
        "client-cert-auth": "peer-client-cert-auth",
        "trusted-ca-file": "peer-trusted-ca-file",
        "auto-tls": "peer-auto-tls",
        "allowed-cn": "peer-cert-allowed-cn",
        "allowed-hostname": "peer-cert-allowed-hostname",
        "skip-client-san-verification": "peer-skip-client-san-verification",
    },
    "socket-options": {
        "reuse-port": "socket-reuse-port",
        "reuse-address": "socket-reuse-address",
    },
    "discovery-config": {
        "token": "discovery-token",
        "endpoints": "discovery-endpoints",
    },
}


def read(path: Path) -> dict[str, str]:
    """Raw values by flag of what the file sets; keys without a value do not count.

    Raises:
        FlagError: it cannot be read, is no YAML mapping, or has a key that etcd has not.
    """
    where = f"--config-file {path}"
    try:
        with path.open("rb") as file:
            content = file.read(_BYTES_MAX + 1)
        if len(content) > _BYTES_MAX:
            raise FlagError(f"{where}: over {_BYTES_MAX} bytes")
        found = yaml.safe_load(content) or {}
    except OSError as error:
        raise FlagError(f"{where}: {cause_of(error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FlagError(f"{where}: not YAML: {cause_of(error)}") from error
    if not isinstance(found, dict):
        raise FlagError(f"{where}: not a mapping of flags to values")
    raw: dict[str, str] = {}
    for key, value in found.items():
        if key in _SECTIONS:
            _read_section(where, key, value, raw)
            continue
        flag = flag_table.find(str(key))
        if flag is None or flag.name in {"config-file", *_IN_SECTIONS}:
            raise FlagError(f"{where}: unknown key {str(key)!r}")
        if value is not None:
            raw[flag.name] = _text(f"{where}: {key}", value, duration=flag.duration)
    return raw


# Flags that stand in a section only.
_IN_SECTIONS = frozenset(name for part in _SECTIONS.values() for name in part.values())


def _read_section(where: str, section: str, values: Any, raw: dict[str, str]) -> None:
    if values is None:
        return
    if not isinstance(values, dict):
        raise FlagError(f"{where}: invalid {section}")
    for key, value in values.items():
        name = _SECTIONS[section].get(str(key))
        if name is None:
            raise FlagError(f"{where}: unknown key {str(key)!r} in {section}")
        if value is not None:
            raw[name] = _text(f"{where}: {section}: {key}", value, duration=False)


def _text(where: str, value: Any, *, duration: bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}ns" if duration and value else str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return ",".join(map(str, value))
    raise FlagError(f"{where}: {value!r} is neither a text, a number nor a list of such")
