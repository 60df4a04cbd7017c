"""Levels and versions: which checks each has, and which a namespace's labels ask for.

Source: upstream's pod-security-admission, policy/registry.go and api/helpers.go (order, messages).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from apiserver.admission.pod_security import baseline, restricted
from apiserver.admission.pod_security.restricted import (
    Check,
    but_for_user_namespaces,
    but_for_windows,
)
from apiserver.admission.pod_security.subject import Subject, Violation

PREFIX: Final = "pod-security.kubernetes.io/"
LEVELS: Final = ("privileged", "baseline", "restricted")
LATEST: Final = 37
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]{0,3})")


class _Row(NamedTuple):
    """A check by upstream's name: from which minor version on it is which function."""

    name: str
    versions: tuple[tuple[int, Check], ...]
    overrides: str = ""


_BASELINE: Final = (
    _Row("appArmorProfile", ((0, baseline.app_armor),)),
    _Row("capabilities_baseline", ((0, baseline.capabilities),)),
    _Row("hostNamespaces", ((0, baseline.host_namespaces),)),
    _Row("hostPathVolumes", ((0, baseline.host_path_volumes),)),
    _Row("hostPorts", ((0, baseline.host_ports),)),
    _Row("hostProbesAndHostLifecycle", ((34, baseline.host_probes),)),
    _Row("privileged", ((0, baseline.privileged),)),
    _Row(
        "procMount",
        ((0, baseline.proc_mount), (35, but_for_user_namespaces(baseline.proc_mount))),
    ),
    _Row(
        "seLinuxOptions",
        ((0, baseline.selinux()), (31, baseline.selinux(frozenset(("container_engine_t",))))),
    ),
    _Row("seccompProfile_baseline", ((0, baseline.seccomp_annotations), (19, baseline.seccomp))),
    _Row("sysctls", tuple((minor, baseline.sysctls(minor)) for minor in (0, 27, 29, 32, 37))),
    _Row("windowsHostProcess", ((0, baseline.windows_host_process),)),
)
_RESTRICTED: Final = (
    _Row(
        "allowPrivilegeEscalation",
        (
            (8, restricted.privilege_escalation),
            (25, but_for_windows(restricted.privilege_escalation)),
        ),
    ),
    _Row(
        "capabilities_restricted",
        ((22, restricted.capabilities), (25, but_for_windows(restricted.capabilities))),
        overrides="capabilities_baseline",
    ),
    _Row("procMount_restricted", ((35, baseline.proc_mount),), overrides="procMount"),
    _Row("restrictedVolumes", ((0, restricted.volumes),), overrides="hostPathVolumes"),
    _Row(
        "runAsNonRoot",
        (
            (0, restricted.run_as_non_root),
            (35, but_for_user_namespaces(restricted.run_as_non_root)),
        ),
    ),
    _Row(
        "runAsUser",
        ((23, restricted.run_as_user), (35, but_for_user_namespaces(restricted.run_as_user))),
    ),
    _Row(
        "seccompProfile_restricted",
        ((19, restricted.seccomp_set), (25, but_for_windows(restricted.seccomp_set))),
        overrides="seccompProfile_baseline",
    ),
)


class Standard(NamedTuple):
    """A level of a version; `minor` is None for the latest."""

    level: str
    minor: int | None = None

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor is None else f'v1.{self.minor}'}"

    def violations(self, pod: Subject) -> list[Violation]:
        """What a Pod does that it may not, in upstream's order."""
        minor = LATEST if self.minor is None else min(self.minor, LATEST)
        return [found for check in _checks(self.level, minor) if (found := check(pod)) is not None]


@dataclass(frozen=True, slots=True)
class Policy:
    """What labels ask for; `errors` are (label, value, message) of those that make no sense."""

    enforce: Standard
    audit: Standard
    warn: Standard
    errors: tuple[tuple[str, str, str], ...] = ()


def policy_of(labels: Mapping[str, str]) -> Policy:
    """The policy of a namespace; nonsense counts as restricted where it is enforced."""
    errors: list[tuple[str, str, str]] = []
    made: dict[str, Standard] = {}
    for mode in ("enforce", "audit", "warn"):
        level = _level(labels, mode, errors)
        made[mode] = Standard(level, _minor(labels, mode, errors))
    asked = labels.get(f"{PREFIX}enforce")
    if f"{PREFIX}warn" not in labels and asked in LEVELS:
        # Who enforces a level is warned by it too.
        minor = made["warn"].minor
        if f"{PREFIX}warn-version" not in labels and asked != "privileged":
            minor = made["enforce"].minor
        made["warn"] = Standard(asked, minor)
    return Policy(made["enforce"], made["audit"], made["warn"], tuple(errors))


def is_stricter(one: str, other: str) -> bool:
    """Whether a level is stricter than another."""
    return LEVELS.index(one) > LEVELS.index(other)


def _level(labels: Mapping[str, str], mode: str, errors: list[tuple[str, str, str]]) -> str:
    level = labels.get(f"{PREFIX}{mode}", "privileged")
    if level in LEVELS:
        return level
    errors.append((f"{PREFIX}{mode}", level, f"must be one of {', '.join(LEVELS)}"))
    return "restricted" if mode == "enforce" else "privileged"


def _minor(labels: Mapping[str, str], mode: str, errors: list[tuple[str, str, str]]) -> int | None:
    version = labels.get(f"{PREFIX}{mode}-version", "latest")
    found = _VERSION.fullmatch(version)
    if found is None and version != "latest":
        errors.append((f"{PREFIX}{mode}-version", version, 'must be "latest" or "v1.x"'))
    return int(found[1]) if found else None


@lru_cache(maxsize=256)
def _checks(level: str, minor: int) -> tuple[Check, ...]:
    if level == "privileged":
        return ()
    rows = [(row, check) for row in _BASELINE if (check := _of(row, minor))]
    if level == "restricted":
        more = [(row, check) for row in _RESTRICTED if (check := _of(row, minor))]
        over = {row.overrides for row, _ in more}
        rows = [pair for pair in rows if pair[0].name not in over] + more
    return tuple(check for _, check in rows)


def _of(row: _Row, minor: int) -> Check | None:
    found: Callable[[Subject], Violation | None] | None = None
    for since, check in row.versions:
        if since <= minor:
            found = check
    return found
