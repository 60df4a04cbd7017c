"""What clients are warned of in objects that are stored all the same. Pure.

Source: upstream's pkg/api/pod, pkg/api/node, pkg/registry (warnings, texts).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kubraft.api import gvk
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.quantity import NANO, parse_quantity

# Said to everybody who uses a kind.
DEPRECATED_KINDS: Final = {
    gvk.ENDPOINTS: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
_INGRESS: Final = GroupVersionKind("networking.k8s.io", "v1", "Ingress")
_LABELS: Final = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_ANNOTATIONS: Final = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
    "security.alpha.kubernetes.io/unsafe-sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
}
_VOLUMES: Final = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
# Upstream's name of a field where it is not that of the API.
_SHOWN: Final = {"storageos": "storageOS"}
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
_SECCOMP: Final = 'non-functional in v1.27+; use the "seccompProfile" field instead'


def field_warnings(kind: GroupVersionKind, obj: Object) -> Iterator[str]:
    """The warnings on one object, which is valid."""
    if kind == _INGRESS:
        name = "kubernetes.io/ingress.class"
        if name in (obj["metadata"].get("annotations") or {}):
            yield f"annotation \"{name}\" is deprecated, please use 'spec.ingressClassName' instead"
    elif kind in _TEMPLATES:
        at: Any = obj
        for step in _TEMPLATES[kind]:
            at = at.get(step) or {}
        if isinstance(at.get("spec"), dict):
            prefix = ".".join(_TEMPLATES[kind])
            yield from _pod(at, f"{prefix}." if prefix else "")


_TEMPLATES: Final[dict[GroupVersionKind, tuple[str, ...]]] = {
    gvk.POD: (),
    **dict.fromkeys(
        (gvk.DEPLOYMENT, gvk.REPLICA_SET, gvk.STATEFUL_SET, gvk.DAEMON_SET, gvk.JOB),
        ("spec", "template"),
    ),
    gvk.CRON_JOB: ("spec", "jobTemplate", "spec", "template"),
}


def _pod(pod: Object, at: str) -> Iterator[str]:
    spec = pod["spec"]
    for key in spec.get("nodeSelector") or ():
        if said := _label(key):
            yield f"{at}spec.nodeSelector[{key}]: {said}"
    yield from _affinity(spec, f"{at}spec.affinity.nodeAffinity")
    for index, each in enumerate(spec.get("topologySpreadConstraints") or ()):
        place = f"{at}spec.topologySpreadConstraints[{index}]"
        key = each.get("topologyKey", "")
        if said := _label(key):
            yield f"{place}.topologyKey: {key} is {said}"
        if each.get("labelSelector") is None:
            yield f"{place}.labelSelector: a null labelSelector results in matching no pod"
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    for key, said in _ANNOTATIONS.items():
        if key in annotations:
            yield f"{at}metadata.annotations[{key}]: {said}"
    for index, volume in enumerate(spec.get("volumes") or ()):
        for name in volume:
            if name in _VOLUMES:
                shown = _SHOWN.get(name, name)
                yield f"{at}spec.volumes[{index}].{shown}: {_VOLUMES[name]}"
    yield from _twice(spec, "hostAliases", "ip", at)
    yield from _twice(spec, "imagePullSecrets", "name", at)
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield f'{at}spec.imagePullSecrets[{index}].name: invalid empty name ""'
    key = "seccomp.security.alpha.kubernetes.io/pod"
    if key in annotations and not _has_seccomp(spec):
        yield f"{at}metadata.annotations[{key}]: {_SECCOMP}"
    for container, place in _containers(spec, at):
        yield from _container(container, place, annotations, at)
    yield from _ports(spec, at)


def _label(key: str) -> str:
    if key not in _LABELS:
        return ""
    version, instead = _LABELS[key]
    return f'deprecated since {version}; use "{instead}" instead'


def _affinity(spec: Object, at: str) -> Iterator[str]:
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity")) or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [
        (term, f"{at}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{index}]")
        for index, term in enumerate(required.get("nodeSelectorTerms") or ())
    ]
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    terms += [
        (
            each.get("preference") or {},
            f"{at}.preferredDuringSchedulingIgnoredDuringExecution[{index}].preference",
        )
        for index, each in enumerate(preferred)
    ]
    for term, place in terms:
        for index, expression in enumerate(term.get("matchExpressions") or ()):
            key = expression.get("key", "")
            if said := _label(key):
                yield f"{place}.matchExpressions[{index}].key: {key} is {said}"


def _twice(spec: Object, field: str, name: str, at: str) -> Iterator[str]:
    seen = set()
    for index, each in enumerate(spec.get(field) or ()):
        value = each.get(name, "")
        if value in seen:
            yield f'{at}spec.{field}[{index}].{name}: duplicate {name} "{value}"'
        seen.add(value)


def _has_seccomp(part: Object) -> bool:
    return bool((part.get("securityContext") or {}).get("seccompProfile"))


def _containers(spec: Object, at: str) -> Iterator[tuple[Object, str]]:
    for field in _CONTAINERS:
        for index, container in enumerate(spec.get(field) or ()):
            yield container, f"{at}spec.{field}[{index}]"


def _container(
    container: Object, place: str, annotations: dict[str, str], at: str
) -> Iterator[str]:
    key = f"container.seccomp.security.alpha.kubernetes.io/{container.get('name', '')}"
    if key in annotations and not _has_seccomp(container):
        yield f"{at}metadata.annotations[{key}]: {_SECCOMP}"
    resources = container.get("resources") or {}
    for name in ("memory", "ephemeral-storage"):
        for part in ("limits", "requests"):
            value = (resources.get(part) or {}).get(name)
            if value is not None and parse_quantity(str(value)).nano % NANO:
                yield (
                    f'{place}.resources.{part}[{name}]: fractional byte value "{value}" is '
                    "invalid, must be an integer"
                )
    seen = set()
    for index, each in enumerate(container.get("env") or ()):
        name = each.get("name", "")
        value, ref = each.get("value") or "", f"$({name})"
        if name in seen and (each.get("valueFrom") or value == ref or ref not in value):
            yield (
                f'{place}.env[{index}]: hides previous definition of "{name}", which may be '
                "dropped when using apply"
            )
        seen.add(name)


def _ports(spec: Object, at: str) -> Iterator[str]:
    known: dict[tuple[Any, str], list[tuple[str, Object]]] = {}
    for container, place in _containers(spec, at):
        for index, port in enumerate(container.get("ports") or ()):
            here = f"{place}.ports[{index}]"
            others = known.setdefault((port.get("containerPort"), port.get("protocol", "TCP")), [])
            for there, other in others:
                if said := _overlap(port, other):
                    yield f"{here}: {said} port definition with {there}"
            others.append((here, port))


def _overlap(port: Object, other: Object) -> str:
    address, number = port.get("hostIP") or "", port.get("hostPort") or 0
    its_address, its_number = other.get("hostIP") or "", other.get("hostPort") or 0
    if (address, number) == (its_address, its_number):
        return "duplicate"
    if not number or not its_number:
        return "overlapping"
    if number == its_number and bool(address) != bool(its_address):
        return "dangerously ambiguous"
    return ""
