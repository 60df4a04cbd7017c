"""From a Pod's spec to the configs of its sandbox and containers, as CRI wants them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.node import pod_view
from agents.node.environment import ConfigError, expand
from agents.node.plan import spec_hash
from agents.node.security import groups, namespaces, security_context
from kubraft.api.object import Object, annotations_of, is_terminating, labels_of
from kubraft.api.pods import container_resources, qos_class
from kubraft.api.time import parse_time
from kubraft.pb.criv1 import api_pb2 as cri

_GRACE_DEFAULT_S = 30
# What a program gets whose time has run out while nobody watched. Source: the kubelet's minimum.
_GRACE_MIN_S = 2.0
_CPU_PERIOD_US = 100_000
_SHARES_PER_CPU = 1024
_OOM_SCORES = {"Guaranteed": -997, "BestEffort": 1000}


def grace_period_s(pod: Object) -> int:
    """How long a Pod's containers have to stop: what its deletion says, else its spec."""
    deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    if deletion is not None and pod["metadata"].get("deletionTimestamp"):
        return int(deletion)
    seconds = pod["spec"].get("terminationGracePeriodSeconds")
    return _GRACE_DEFAULT_S if seconds is None else int(seconds)


def grace_left_s(pod: Object, *, began_s: float, now_s: float) -> float:
    """As `grace_period_s`, less what a deletion has used up before this agent began.

    Args:
        pod: may be terminating.
        began_s: Unix time at which this agent began; of later deletions all is left.
        now_s: Unix time.
    """
    whole_s = grace_period_s(pod)
    if not is_terminating(pod):
        return whole_s
    until_s = parse_time(pod["metadata"]["deletionTimestamp"]).timestamp()
    if until_s - whole_s >= began_s:
        return whole_s
    return min(whole_s, max(_GRACE_MIN_S, until_s - now_s))


def log_directory(root: Path, pod: Object) -> Path:
    """Where the logs of all containers of a Pod are."""
    metadata = pod["metadata"]
    return root / "logs" / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


def _identity(pod: Object) -> dict[str, str]:
    metadata = pod["metadata"]
    return {
        pod_view.POD_NAME: metadata["name"],
        pod_view.POD_NAMESPACE: metadata["namespace"],
        pod_view.POD_UID: metadata["uid"],
    }


def sandbox_config(
    pod: Object,
    attempt: int,
    logs: Path,
    *,
    hostname: str,
    dns: cri.DNSConfig,
    cgroup_root: str = "",
) -> cri.PodSandboxConfig:
    """The sandbox of `pod`; its containers' cgroups are made below `cgroup_root`."""
    metadata, spec = pod["metadata"], pod["spec"]
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=metadata["name"],
            uid=metadata["uid"],
            namespace=metadata["namespace"],
            attempt=attempt,
        ),
        hostname=hostname,
        dns_config=dns,
        log_directory=str(logs),
        labels={**labels_of(pod), **_identity(pod)},
        annotations={
            **annotations_of(pod),
            pod_view.GRACE_PERIOD: str(spec.get("terminationGracePeriodSeconds", _GRACE_DEFAULT_S)),
        },
        port_mappings=[
            cri.PortMapping(
                container_port=port["containerPort"],
                host_port=port.get("hostPort") or 0,
                host_ip=port.get("hostIP") or "",
                protocol=cri.Protocol.Value(port.get("protocol") or "TCP"),
            )
            for container in spec["containers"]
            for port in container.get("ports") or ()
        ],
        linux=cri.LinuxPodSandboxConfig(
            cgroup_parent=cgroup_root,
            security_context=cri.LinuxSandboxSecurityContext(
                namespace_options=namespaces(spec), supplemental_groups=groups(spec)
            ),
        ),
    )


def container_config(
    pod: Object,
    container: Mapping[str, Any],
    attempt: int,
    *,
    image_id: str,
    env: Mapping[str, str],
    mounts: Sequence[cri.Mount],
    target_id: str = "",
) -> cri.ContainerConfig:
    """A container of `pod`.

    Raises:
        ConfigError: its security context cannot be met.
    """
    name = container["name"]
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name, attempt=attempt),
        image=cri.ImageSpec(image=image_id, user_specified_image=container.get("image", "")),
        command=[expand(word, env) for word in container.get("command") or ()],
        args=[expand(word, env) for word in container.get("args") or ()],
        working_dir=container.get("workingDir") or "",
        envs=[
            cri.KeyValue(key=key, value=value.encode(errors="surrogateescape"))
            for key, value in env.items()
        ],
        mounts=mounts,
        labels={**_identity(pod), pod_view.CONTAINER_NAME: name},
        annotations={
            pod_view.SPEC_HASH: spec_hash(dict(container)),
            pod_view.TERMINATION_MESSAGE_POLICY: container.get("terminationMessagePolicy")
            or "File",
            "io.kubernetes.container.restartCount": str(attempt),
            "io.kubernetes.container.terminationMessagePath": container.get(
                "terminationMessagePath"
            )
            or "/dev/termination-log",
        },
        log_path=f"{name}/{attempt}.log",
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        linux=cri.LinuxContainerConfig(
            resources=linux_resources(pod, container),
            security_context=security_context(pod, container, target_id),
        ),
        stop_signal=_stop_signal(container),
    )


def _stop_signal(container: Mapping[str, Any]) -> Any:
    name = (container.get("lifecycle") or {}).get("stopSignal")
    if not name:
        return cri.SIGNAL_RUNTIME_DEFAULT
    try:
        return cri.Signal.Value("SIGNAL_" + name.replace("+", "PLUS").replace("-", "MINUS"))
    except ValueError as error:
        raise ConfigError(f"stopSignal {name} is not known") from error


def linux_resources(pod: Object, container: Mapping[str, Any]) -> cri.LinuxContainerResources:
    """The limits of a container, and its place when memory or CPU is short."""
    requests = container_resources(container, "requests")
    limits = container_resources(container, "limits")
    result = cri.LinuxContainerResources(
        cpu_shares=2, oom_score_adj=_OOM_SCORES.get(qos_class(pod), 999)
    )
    cpu = requests.get("cpu") or limits.get("cpu")
    if cpu:
        result.cpu_shares = max(2, cpu.milli_value() * _SHARES_PER_CPU // 1000)
    if "cpu" in limits:
        result.cpu_period = _CPU_PERIOD_US
        result.cpu_quota = limits["cpu"].milli_value() * _CPU_PERIOD_US // 1000
    if "memory" in limits:
        result.memory_limit_in_bytes = limits["memory"].value()
    return result
