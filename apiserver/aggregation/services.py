"""APIServices as values: who has a version of a group, and in which order clients see them. Pure.

Source: kube-aggregator (order of groups and versions); kube-apiserver (priorities of its groups).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from apiserver.registry.custom.rows import version_priority
from apiserver.registry.kinds.apiregistration import API_SERVICE
from kubraft.api.conditions import is_true
from kubraft.api.object import Object

OWN_GROUP: Final = API_SERVICE.group
MANAGED: Final = "kube-aggregator.kubernetes.io/automanaged"

GroupVersion = tuple[str, str]


class Priority(NamedTuple):
    """Both count downwards: what has more comes first."""

    group: int
    version: int


# Of custom resources, and of groups that nobody gave one.
CUSTOM: Final = Priority(1_000, 100)
_VERSION: Final = 15
_GROUPS: Final[Mapping[str, int]] = {
    "": 18_000,
    "apps": 17_800,
    "events.k8s.io": 17_750,
    "authentication.k8s.io": 17_700,
    "authorization.k8s.io": 17_600,
    "autoscaling": 17_500,
    "batch": 17_400,
    "certificates.k8s.io": 17_300,
    "networking.k8s.io": 17_200,
    "policy": 17_100,
    "rbac.authorization.k8s.io": 17_000,
    "storage.k8s.io": 16_800,
    "apiextensions.k8s.io": 16_700,
    "admissionregistration.k8s.io": 16_700,
    "scheduling.k8s.io": 16_600,
    "coordination.k8s.io": 16_500,
    "node.k8s.io": 16_300,
    "discovery.k8s.io": 16_200,
    "flowcontrol.apiserver.k8s.io": 16_100,
    "internal.apiserver.k8s.io": 16_000,
    "resource.k8s.io": 15_900,
    "storagemigration.k8s.io": 15_800,
}
_VERSIONS: Final[Mapping[GroupVersion, int]] = {
    ("", "v1"): 1,
    ("autoscaling", "v2"): 30,
    ("flowcontrol.apiserver.k8s.io", "v1"): 21,
}


@dataclass(frozen=True, slots=True)
class Remote:
    """A version of a group that another server has."""

    name: str
    group: str
    version: str
    namespace: str
    service: str
    port: int
    ca_bundle: str
    insecure: bool
    available: bool
    priority: Priority

    @property
    def group_version(self) -> GroupVersion:
        return self.group, self.version

    @property
    def place(self) -> str:
        """Where its URLs begin, without the first slash."""
        return f"apis/{self.group}/{self.version}" if self.group else f"api/{self.version}"

    @property
    def server(self) -> str:
        """The name that its certificate must have."""
        return f"{self.service}.{self.namespace}.svc"


def read(obj: Object) -> Remote | None:
    """The remote side of an APIService; None where this server has the version itself."""
    spec: Mapping[str, Any] = obj["spec"]
    service = spec.get("service")
    if not service:
        return None
    return Remote(
        name=obj["metadata"]["name"],
        group=spec.get("group") or "",
        version=spec.get("version") or "",
        namespace=service.get("namespace") or "",
        service=service.get("name") or "",
        port=service.get("port") or 443,
        ca_bundle=spec.get("caBundle") or "",
        insecure=bool(spec.get("insecureSkipTLSVerify")),
        available=is_true(obj, "Available"),
        priority=Priority(spec["groupPriorityMinimum"], spec["versionPriority"]),
    )


def priority_of(group: str, version: str) -> Priority:
    """The priority of a version that this server has itself."""
    if group not in _GROUPS:
        return CUSTOM
    return Priority(_GROUPS[group], _VERSIONS.get((group, version), _VERSION))


def local(group: str, version: str) -> Object:
    """The APIService of a version that this server has itself."""
    priority = priority_of(group, version)
    spec: Object = {"version": version, "groupPriorityMinimum": priority.group}
    spec["versionPriority"] = priority.version
    if group:
        spec["group"] = group
    return {
        "apiVersion": API_SERVICE.api_version,
        "kind": API_SERVICE.kind,
        "metadata": {
            "name": f"{version}.{group}",
            "labels": {MANAGED: "onstart" if group in _GROUPS else "true"},
        },
        "spec": spec,
    }


def ordered(
    served: Iterable[GroupVersion], known: Mapping[GroupVersion, Priority]
) -> dict[str, list[str]]:
    """Groups, and the versions of each, as clients prefer them.

    Args:
        served: what there is; the group of APIServices comes first whatever its priority.
        known: the priorities that APIServices give; others have those of `priority_of`.
    """

    def priority(each: GroupVersion) -> Priority:
        return known.get(each) or priority_of(*each)

    def by_group(each: GroupVersion) -> tuple[bool, int, str]:
        return each[0] != OWN_GROUP, -priority(each).group, f"{each[1]}.{each[0]}"

    groups: dict[str, list[str]] = {}
    for group, version in sorted(set(served), key=by_group):
        groups.setdefault(group, []).append(version)
    for group, versions in groups.items():
        versions.sort(key=lambda v, g=group: (-priority((g, v)).version, version_priority(v)))  # type: ignore[misc]
    return groups
