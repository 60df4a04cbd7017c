"""Who a container is and what it may: its security context, as CRI wants it. Pure.

Source: Kubernetes documentation, "Configure a Security Context for a Pod or Container".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.node.environment import ConfigError
from kubraft.api.object import Object
from kubraft.pb.criv1 import api_pb2 as cri

# Below which a Localhost seccomp profile lies. Source: the kubelet's default root directory.
_SECCOMP_ROOT = "/var/lib/kubelet/seccomp"
_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)


def namespaces(spec: Mapping[str, Any]) -> cri.NamespaceOption:
    """What the containers of a Pod share, and with whom."""
    pid = cri.POD if spec.get("shareProcessNamespace") else cri.CONTAINER
    return cri.NamespaceOption(
        network=cri.NODE if spec.get("hostNetwork") else cri.POD,
        pid=cri.NODE if spec.get("hostPID") else pid,
        ipc=cri.NODE if spec.get("hostIPC") else cri.POD,
    )


def groups(spec: Mapping[str, Any]) -> list[int]:
    """The groups that every process of a Pod is in besides its own."""
    common = spec.get("securityContext") or {}
    found = [int(group) for group in common.get("supplementalGroups") or ()]
    if common.get("fsGroup") is not None:
        found.append(int(common["fsGroup"]))
    return list(dict.fromkeys(found))


def must_not_be_root(pod: Object, container: Mapping[str, Any]) -> bool:
    """Whether it is for the image to say that a container is not root's."""
    return bool(_effective(pod, container, "runAsNonRoot")) and (
        _effective(pod, container, "runAsUser") is None
    )


def check_image_user(pod: Object, container: Mapping[str, Any], image: cri.Image) -> None:
    """For a container that `must_not_be_root`.

    Raises:
        ConfigError: its image would make it root, or does not say.
    """
    if image.HasField("uid") and image.uid.value != 0:
        return
    if image.username and not image.HasField("uid"):
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root ({_whose(pod, container)})"
        )
    raise ConfigError(
        f"container has runAsNonRoot and image will run as root ({_whose(pod, container)})"
    )


def _whose(pod: Object, container: Mapping[str, Any]) -> str:
    metadata = pod["metadata"]
    name = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
    return f'pod: "{name}", container: {container["name"]}'


def _effective(pod: Object, container: Mapping[str, Any], field: str) -> Any:
    """A field of the container's security context, or else of its Pod's."""
    own = container.get("securityContext") or {}
    value = own.get(field)
    return (pod["spec"].get("securityContext") or {}).get(field) if value is None else value


def _seccomp(profile: Mapping[str, Any] | None) -> cri.SecurityProfile:
    """A container without one is not confined, as without --seccomp-default."""
    wanted = profile or {"type": "Unconfined"}
    path = ""
    if wanted["type"] == "Localhost":
        path = f"{_SECCOMP_ROOT}/{wanted['localhostProfile']}"
    kind = cri.SecurityProfile.ProfileType.Value(wanted["type"])
    return cri.SecurityProfile(profile_type=kind, localhost_ref=path)


def _app_armor(profile: Mapping[str, Any] | None) -> cri.SecurityProfile | None:
    """None: the runtime's choice."""
    if not profile:
        return None
    kind = cri.SecurityProfile.ProfileType.Value(profile["type"])
    return cri.SecurityProfile(
        profile_type=kind, localhost_ref=profile.get("localhostProfile") or ""
    )


def security_context(
    pod: Object, container: Mapping[str, Any], target_id: str = ""
) -> cri.LinuxContainerSecurityContext:
    """The security context of a container; it sees the processes of `target_id`, where given.

    Raises:
        ConfigError: it is root's and must not be.
    """
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    result = cri.LinuxContainerSecurityContext(
        privileged=bool(own.get("privileged")),
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")),
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        supplemental_groups=groups(pod["spec"]),
        capabilities=cri.Capability(
            add_capabilities=capabilities.get("add") or [],
            drop_capabilities=capabilities.get("drop") or [],
        ),
        masked_paths=() if own.get("procMount") == "Unmasked" else _MASKED_PATHS,
        namespace_options=namespaces(pod["spec"]),
        seccomp=_seccomp(_effective(pod, container, "seccompProfile")),
        apparmor=_app_armor(_effective(pod, container, "appArmorProfile")),
    )
    if target_id:
        result.namespace_options.pid = cri.TARGET
        result.namespace_options.target_id = target_id
    user = _effective(pod, container, "runAsUser")
    group = _effective(pod, container, "runAsGroup")
    if _effective(pod, container, "runAsNonRoot") and user == 0:
        text = "container's runAsUser breaks non-root policy"
        raise ConfigError(f"{text} ({_whose(pod, container)})")
    if user is not None:
        result.run_as_user.value = user
    if group is not None:
        result.run_as_group.value = group
    return result
