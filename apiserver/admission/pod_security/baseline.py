"""The checks of level baseline.

Source: Kubernetes documentation, "Pod Security Standards"; upstream's pod-security-admission,
policy/check_*.go (reasons and details).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from apiserver.admission.pod_security.subject import (
    Subject,
    Violation,
    counted,
    plural,
    quoted,
    setters,
)

Context = Mapping[str, Any]

_CAPABILITIES: Final = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
_SELINUX_TYPES: Final = frozenset(("", "container_t", "container_init_t", "container_kvm_t"))
_SYSCTLS: Final = (
    (
        0,
        (
            "kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.tcp_syncookies "
            "net.ipv4.ping_group_range net.ipv4.ip_unprivileged_port_start"
        ),
    ),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (
        29,
        (
            "net.ipv4.tcp_keepalive_time net.ipv4.tcp_fin_timeout net.ipv4.tcp_keepalive_intvl "
            "net.ipv4.tcp_keepalive_probes"
        ),
    ),
    (32, "net.ipv4.tcp_rmem net.ipv4.tcp_wmem"),
    (37, "net.ipv4.tcp_slow_start_after_idle net.ipv4.tcp_notsent_lowat"),
)
_APP_ARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
PROFILES: Final = ("Localhost", "RuntimeDefault")


def app_armor(pod: Subject) -> Violation | None:
    values: set[str] = set()

    def is_bad(context: Context) -> bool:
        profile = context.get("appArmorProfile")
        if profile is None or profile.get("type") in PROFILES:
            return False
        values.add(str(profile.get("type") or ""))
        return True

    whole = is_bad(pod.context)
    parts = [who] if (who := setters(whole, pod.bad(is_bad))) else []
    listed = sorted(values)
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in pod.annotations.items()
        if key.startswith(_APP_ARMOR)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    if annotations:
        listed += annotations
        parts.append(plural("annotation", len(annotations)))
    if not parts:
        return None
    return Violation(
        plural("forbidden AppArmor profile", len(listed)),
        f"{' and '.join(parts)} must not set AppArmor profile type to {quoted(listed)}",
    )


def capabilities(pod: Subject) -> Violation | None:
    added: set[str] = set()

    def is_bad(context: Context) -> bool:
        wrong = set((context.get("capabilities") or {}).get("add") or ()) - _CAPABILITIES
        added.update(wrong)
        return bool(wrong)

    if not (names := pod.bad(is_bad)):
        return None
    return Violation(
        "non-default capabilities",
        f"{counted('container', names)} must not include {quoted(sorted(added))} in "
        "securityContext.capabilities.add",
    )


def host_namespaces(pod: Subject) -> Violation | None:
    shared = [n for n in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(n)]
    if not shared:
        return None
    return Violation("host namespaces", ", ".join(f"{name}=true" for name in shared))


def host_path_volumes(pod: Subject) -> Violation | None:
    names = [str(v.get("name")) for v in pod.spec.get("volumes") or () if "hostPath" in v]
    return Violation("hostPath volumes", counted("volume", names)) if names else None


def host_ports(pod: Subject) -> Violation | None:
    names, ports = [], set()
    for container in pod.containers:
        found = {str(p["hostPort"]) for p in container.get("ports") or () if p.get("hostPort")}
        if found:
            names.append(str(container.get("name")))
            ports |= found
    if not names:
        return None
    use = "uses" if len(names) == 1 else "use"
    shown = f"{plural('hostPort', len(ports))} {', '.join(sorted(ports))}"
    return Violation("hostPort", f"{counted('container', names)} {use} {shown}")


def host_probes(pod: Subject) -> Violation | None:
    names, hosts = set(), set()
    for container in pod.containers:
        hooks = container.get("lifecycle") or {}
        probes = ("livenessProbe", "readinessProbe", "startupProbe")
        handlers = [container.get(probe) for probe in probes]
        handlers += [hooks.get("postStart"), hooks.get("preStop")]
        found = {
            str(way["host"])
            for handler in handlers
            for kind in ("httpGet", "tcpSocket")
            if (way := (handler or {}).get(kind)) and way.get("host")
        }
        if found:
            names.add(str(container.get("name")))
            hosts |= found
    if not names:
        return None
    use = "uses" if len(names) == 1 else "use"
    shown = f"{plural('probe or lifecycle host', len(hosts))} {quoted(sorted(hosts))}"
    return Violation(
        "probe or lifecycle host", f"{counted('container', sorted(names))} {use} {shown}"
    )


def privileged(pod: Subject) -> Violation | None:
    names = pod.bad(lambda context: context.get("privileged") is True)
    if not names:
        return None
    said = f"{counted('container', names)} must not set securityContext.privileged=true"
    return Violation("privileged", said)


def proc_mount(pod: Subject) -> Violation | None:
    types: set[str] = set()

    def is_bad(context: Context) -> bool:
        kind = context.get("procMount")
        if kind in (None, "Default"):
            return False
        types.add(str(kind))
        return True

    if not (names := pod.bad(is_bad)):
        return None
    return Violation(
        "procMount",
        f"{counted('container', names)} must not set securityContext.procMount to "
        f"{quoted(sorted(types))}",
    )


def selinux(more: frozenset[str] = frozenset()) -> Callable[[Subject], Violation | None]:
    """The check that allows `more` types."""

    def check(pod: Subject) -> Violation | None:
        types: set[str] = set()
        users: set[str] = set()

        def is_bad(context: Context) -> bool:
            options = context.get("seLinuxOptions")
            if options is None:
                return False
            kind = str(options.get("type") or "")
            wrong = kind not in _SELINUX_TYPES | more
            if wrong:
                types.add(kind)
            named = {name for name in ("user", "role") if options.get(name)}
            users.update(named)
            return wrong or bool(named)

        who = setters(is_bad(pod.context), pod.bad(is_bad))
        if not who:
            return None
        said = [counted("type", sorted(types))] if types else []
        said += [f"{name} may not be set" for name in ("user", "role") if name in users]
        return Violation(
            "seLinuxOptions",
            f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(said)}",
        )

    return check


def seccomp_annotations(pod: Subject) -> Violation | None:
    keys = [_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{c.get('name')}" for c in pod.containers)]
    wrong = {
        f'{key}="{value}"'
        for key in keys
        if (value := pod.annotations.get(key)) is not None
        and value not in ("runtime/default", "docker/default")
        and not value.startswith("localhost/")
    }
    if not wrong:
        return None
    said = f"forbidden {plural('annotation', len(wrong))} {', '.join(sorted(wrong))}"
    return Violation("seccompProfile", said)


def seccomp(pod: Subject) -> Violation | None:
    values: set[str] = set()

    def is_bad(context: Context) -> bool:
        profile = context.get("seccompProfile")
        if profile is None or profile.get("type") in PROFILES:
            return False
        values.add(str(profile.get("type") or ""))
        return True

    if not (who := setters(is_bad(pod.context), pod.bad(is_bad))):
        return None
    return Violation(
        "seccompProfile",
        f"{who} must not set securityContext.seccompProfile.type to {quoted(sorted(values))}",
    )


def sysctls(minor: int) -> Callable[[Subject], Violation | None]:
    """The check of a version."""
    allowed = frozenset(
        name for since, names in _SYSCTLS if since <= minor for name in names.split()
    )

    def check(pod: Subject) -> Violation | None:
        asked = (str(each.get("name")) for each in pod.context.get("sysctls") or ())
        wrong = [name for name in asked if name not in allowed]
        return Violation("forbidden sysctls", ", ".join(wrong)) if wrong else None

    return check


def windows_host_process(pod: Subject) -> Violation | None:
    def is_bad(context: Context) -> bool:
        return (context.get("windowsOptions") or {}).get("hostProcess") is True

    if not (who := setters(is_bad(pod.context), pod.bad(is_bad))):
        return None
    said = f"{who} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", said)
