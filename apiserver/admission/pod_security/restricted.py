"""The checks that level restricted adds, or puts in the place of baseline's.

Source: as baseline.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from apiserver.admission.pod_security.baseline import PROFILES, seccomp
from apiserver.admission.pod_security.subject import (
    Subject,
    Violation,
    counted,
    plural,
    quoted,
    setters,
)

Context = Mapping[str, Any]
Check = Callable[[Subject], Violation | None]

_VOLUMES: Final = frozenset(
    [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ]
)
_FORBIDDEN_VOLUMES: Final = frozenset(
    [
        "hostPath",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "gitRepo",
        "nfs",
        "iscsi",
        "glusterfs",
        "rbd",
        "flexVolume",
        "cinder",
        "cephfs",
        "flocker",
        "fc",
        "azureFile",
        "vsphereVolume",
        "quobyte",
        "azureDisk",
        "photonPersistentDisk",
        "portworxVolume",
        "scaleIO",
        "storageos",
    ]
)


def but_for_windows(check: Check) -> Check:
    """The check, passed by Pods that say they are for Windows."""
    return lambda pod: None if pod.is_windows else check(pod)


def but_for_user_namespaces(check: Check) -> Check:
    """The check, passed by Pods with users of their own."""
    return lambda pod: None if pod.has_user_namespace else check(pod)


def privilege_escalation(pod: Subject) -> Violation | None:
    names = pod.bad(lambda context: context.get("allowPrivilegeEscalation") is not False)
    if not names:
        return None
    return Violation(
        "allowPrivilegeEscalation != false",
        f"{counted('container', names)} must set securityContext.allowPrivilegeEscalation=false",
    )


def capabilities(pod: Subject) -> Violation | None:
    added: set[str] = set()

    def keeps(context: Context) -> bool:
        return "ALL" not in ((context.get("capabilities") or {}).get("drop") or ())

    def adds(context: Context) -> bool:
        found = set((context.get("capabilities") or {}).get("add") or ()) - {"NET_BIND_SERVICE"}
        added.update(found)
        return bool(found)

    said = []
    if names := pod.bad(keeps):
        said.append(
            f'{counted("container", names)} must set securityContext.capabilities.drop=["ALL"]'
        )
    if names := pod.bad(adds):
        said.append(
            f"{counted('container', names)} must not include {quoted(sorted(added))} in "
            "securityContext.capabilities.add"
        )
    return Violation("unrestricted capabilities", "; ".join(said)) if said else None


def volumes(pod: Subject) -> Violation | None:
    names, kinds = [], set()
    for volume in pod.spec.get("volumes") or ():
        if not _VOLUMES & volume.keys():
            names.append(str(volume.get("name")))
            found = sorted(_FORBIDDEN_VOLUMES & volume.keys())
            kinds.add(found[0] if found else "unknown")
    if not names:
        return None
    use = "uses" if len(names) == 1 else "use"
    shown = f"{plural('restricted volume type', len(kinds))} {quoted(sorted(kinds))}"
    return Violation("restricted volume types", f"{counted('volume', names)} {use} {shown}")


def run_as_non_root(pod: Subject) -> Violation | None:
    reason = "runAsNonRoot != true"
    names = pod.bad(lambda context: context.get("runAsNonRoot") is False)
    if who := setters(pod.context.get("runAsNonRoot") is False, names):
        return Violation(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    if pod.context.get("runAsNonRoot") is True:
        return None
    if silent := pod.bad(lambda context: context.get("runAsNonRoot") is None):
        said = f"pod or {counted('container', silent)} must set securityContext.runAsNonRoot=true"
        return Violation(reason, said)
    return None


def run_as_user(pod: Subject) -> Violation | None:
    def is_root(context: Context) -> bool:
        return context.get("runAsUser") == 0

    if not (who := setters(is_root(pod.context), pod.bad(is_root))):
        return None
    return Violation("runAsUser=0", f"{who} must not set runAsUser=0")


def seccomp_set(pod: Subject) -> Violation | None:
    if (found := seccomp(pod)) is not None:
        return found
    if (pod.context.get("seccompProfile") or {}).get("type") in PROFILES:
        return None
    silent = pod.bad(lambda context: context.get("seccompProfile") is None)
    if not silent:
        return None
    return Violation(
        "seccompProfile",
        f"pod or {counted('container', silent)} must set securityContext.seccompProfile.type to "
        '"RuntimeDefault" or "Localhost"',
    )
