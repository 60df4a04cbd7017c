"""Rules on the security contexts of Pods and of their containers.

Source: Kubernetes API reference, core/v1 PodSecurityContext, SecurityContext; upstream's texts.
"""

from __future__ import annotations

import re
from typing import Any

from apiserver.registry.causes import duplicate, invalid, required, unsupported
from apiserver.registry.rules import Check, check, one_of, truly, under
from kubraft.api.errors import Cause

Json = dict[str, Any]

SYSCTL_BYTES_MAX = 253
_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = re.compile(rf"({_SEGMENT}[./])*{_SEGMENT}")
_SYSCTL_RULE = (
    f"must have at most {SYSCTL_BYTES_MAX} characters and match regex "
    rf"^({_SEGMENT}[\./])*{_SEGMENT}$"
)
_IPC_PREFIXES = ("kernel.shm", "kernel.msg", "fs.mqueue.")
_IPC_NAMES = ("kernel.sem",)
_ID_RULE = "must be between 0 and 2147483647, inclusive"
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")

_an_id = truly(lambda number: 0 <= number <= 2**31 - 1, _ID_RULE)
_IDS: tuple[Check, ...] = (("runAsUser", _an_id), ("runAsGroup", _an_id))
_POD: tuple[Check, ...] = (
    ("fsGroup", _an_id),
    *_IDS,
    ("supplementalGroups[]", _an_id),
    ("supplementalGroupsPolicy", one_of("Merge", "Strict")),
    ("fsGroupChangePolicy", one_of("Always", "OnRootMismatch")),
    ("seLinuxChangePolicy", one_of("MountOption", "Recursive")),
)
_CONTAINER: tuple[Check, ...] = (*_IDS, ("procMount", one_of("Default", "Unmasked")))


def pod_causes(spec: Json, field: str) -> list[Cause]:
    """What is wrong with a Pod's securityContext; `field` is the path of its spec."""
    context = spec.get("securityContext") or {}
    path = f"{field}.securityContext"
    causes = under(path, check(context, _POD)) + _profiles(context, path)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        rule = "ShareProcessNamespace and HostPID cannot both be enabled"
        causes.append(invalid(f"{field}.shareProcessNamespace", True, rule))
    return causes + _sysctls(context, spec, path)


def container_causes(container: Json, field: str) -> list[Cause]:
    """What is wrong with a container's securityContext; `field` is the path of the container."""
    context = container.get("securityContext")
    if not context:
        return []
    path = f"{field}.securityContext"
    causes = under(path, check(context, _CONTAINER)) + _profiles(context, path)
    if context.get("allowPrivilegeEscalation") is False:
        rule = "cannot set `allowPrivilegeEscalation` to false and "
        if context.get("privileged"):
            causes.append(invalid(path, context, f"{rule}`privileged` to true"))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            causes.append(invalid(path, context, f"{rule}`capabilities.Add` CAP_SYS_ADMIN"))
    return causes


def _sysctls(context: Json, spec: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    names: set[str] = set()
    for index, sysctl in enumerate(context.get("sysctls") or ()):
        field, name = f"{path}.sysctls[{index}].name", sysctl.get("name", "")
        if not name:
            causes.append(required(field))
        elif len(name) > SYSCTL_BYTES_MAX or not _SYSCTL.fullmatch(name):
            causes.append(invalid(field, name, _SYSCTL_RULE))
        elif name in names:
            causes.append(duplicate(field, name))
        names.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            causes.append(invalid(field, name, "may not be specified when 'hostNetwork' is true"))
        ipc = dotted.startswith(_IPC_PREFIXES) or dotted in _IPC_NAMES
        if spec.get("hostIPC") and ipc:
            causes.append(invalid(field, name, "may not be specified when 'hostIPC' is true"))
    return causes


def _profiles(context: Json, path: str) -> list[Cause]:
    """Of seccomp and AppArmor: a file is named for profiles of the host alone."""
    causes: list[Cause] = []
    for name in ("seccompProfile", "appArmorProfile"):
        profile = context.get(name)
        if profile is None:
            continue
        field, type_ = f"{path}.{name}", profile.get("type", "")
        local = profile.get("localhostProfile")
        if not type_:
            causes.append(required(f"{field}.type", "type is required when seccompProfile is set")
                          if name == "seccompProfile" else required(f"{field}.type"))  # fmt: skip
        elif type_ not in _PROFILES:
            causes.append(unsupported(f"{field}.type", type_, _PROFILES))
        if type_ == "Localhost":
            causes += _localhost(local, f"{field}.localhostProfile", of=name)
        elif local is not None and name == "seccompProfile":
            rule = "can only be set when seccomp type is Localhost"
            causes.append(invalid(f"{field}.localhostProfile", local, rule))
        elif local is not None:
            rule = "can only be set when AppArmor type is Localhost"
            causes.append(invalid(f"{field}.localhostProfile", local, rule))
    return causes


def _localhost(local: str | None, field: str, *, of: str) -> list[Cause]:
    if of == "appArmorProfile":
        if local and local.strip():
            return []
        return [required(field, "must be set when AppArmor type is Localhost")]
    if local is None:
        return [required(field, "must be set when seccomp type is Localhost")]
    if local.startswith("/"):
        return [invalid(field, local, "must be a relative path")]
    return [invalid(field, local, "must not contain '..'")] if ".." in local.split("/") else []
