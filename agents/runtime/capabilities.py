"""Capabilities of a container, by name. Pure.

Source: capabilities(7); Kubernetes documentation, "Set capabilities for a Container".
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.runtime.errors import InvalidFailure
from agents.runtime.linux import DEFAULT_CAPABILITIES

# In the order of their numbers.
_NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
_NUMBERS = {name: number for number, name in enumerate(_NAMES)}


def capabilities(add: Iterable[str], drop: Iterable[str]) -> tuple[int, ...]:
    """The numbers that remain of the usual ones; ALL is all of them, and one that is added stays.

    Raises:
        InvalidFailure: a name is not known.
    """
    kept = set(DEFAULT_CAPABILITIES) - _numbers(drop)
    return tuple(sorted(kept | _numbers(add)))


def _numbers(names: Iterable[str]) -> set[int]:
    found: set[int] = set()
    for name in names:
        short = name.upper().removeprefix("CAP_")
        if short == "ALL":
            found.update(_NUMBERS.values())
        elif short in _NUMBERS:
            found.add(_NUMBERS[short])
        else:
            raise InvalidFailure(f'unknown capability "CAP_{short}"')
    return found
