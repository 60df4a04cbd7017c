"""The resource table: every kind that is served. A further kind is one more row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from apiserver.registry import cells, pod_cells
from apiserver.registry.admissionregistration_rows import ADMISSION_ROWS
from apiserver.registry.config import ConfigMapStrategy, SecretStrategy
from apiserver.registry.core import (
    EventStrategy,
    LeaseStrategy,
    LimitRangeStrategy,
    NamespaceStrategy,
    NodeStrategy,
    ResourceQuotaStrategy,
    ServiceAccountStrategy,
)
from apiserver.registry.custom import definition
from apiserver.registry.custom.definition import DefinitionStrategy
from apiserver.registry.custom.rows import version_priority
from apiserver.registry.kinds.rows import ROWS
from apiserver.registry.pod import PodStrategy
from apiserver.registry.rbac import BindingStrategy, RoleStrategy
from apiserver.registry.resource import STANDARD_VERBS, Resource
from apiserver.registry.reviews import REVIEWS
from apiserver.registry.service import ServiceStrategy
from apiserver.registry.workloads import DeploymentStrategy, ReplicaSetStrategy
from kubraft.api import gvk
from kubraft.api.gvk import GroupVersionKind, parse_api_version

_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)

TABLE: tuple[Resource, ...] = (
    Resource(
        gvk.NAMESPACE,
        "namespaces",
        NamespaceStrategy(),
        cells.NAMESPACE,
        namespaced=False,
        short_names=("ns",),
        # A collection of them is deleted one by one, as upstream.
        verbs=tuple(verb for verb in STANDARD_VERBS if verb != "deletecollection"),
        subresources=("status", "finalize"),
        selectable_fields=("status.phase",),
    ),
    Resource(
        gvk.NODE,
        "nodes",
        NodeStrategy(),
        cells.NODE,
        namespaced=False,
        short_names=("no",),
        subresources=("status", "proxy"),
        selectable_fields=("spec.unschedulable",),
        folder="minions",
    ),
    Resource(
        gvk.POD,
        "pods",
        PodStrategy(),
        pod_cells.POD,
        short_names=("po",),
        categories=("all",),
        subresources=(
            *("status", "binding", "eviction", "log", "ephemeralcontainers", "resize"),
            *("exec", "attach", "portforward", "proxy"),
        ),
        selectable_fields=_POD_FIELDS,
    ),
    Resource(
        gvk.SERVICE,
        "services",
        ServiceStrategy(),
        cells.SERVICE,
        short_names=("svc",),
        categories=("all",),
        subresources=("status", "proxy"),
        selectable_fields=("spec.clusterIP", "spec.type"),
        folder="services/specs",
    ),
    Resource(
        gvk.CONFIG_MAP, "configmaps", ConfigMapStrategy(), cells.CONFIG_MAP, short_names=("cm",)
    ),
    Resource(gvk.SECRET, "secrets", SecretStrategy(), cells.SECRET, selectable_fields=("type",)),
    Resource(
        gvk.SERVICE_ACCOUNT,
        "serviceaccounts",
        ServiceAccountStrategy(),
        cells.SERVICE_ACCOUNT,
        short_names=("sa",),
        subresources=("token",),
    ),
    Resource(
        gvk.EVENT,
        "events",
        EventStrategy(),
        cells.EVENT,
        short_names=("ev",),
        selectable_fields=_EVENT_FIELDS,
    ),
    Resource(
        gvk.LIMIT_RANGE,
        "limitranges",
        LimitRangeStrategy(),
        cells.LIMIT_RANGE,
        short_names=("limits",),
    ),
    Resource(
        gvk.RESOURCE_QUOTA,
        "resourcequotas",
        ResourceQuotaStrategy(),
        cells.RESOURCE_QUOTA,
        short_names=("quota",),
        subresources=("status",),
    ),
    Resource(
        gvk.REPLICA_SET,
        "replicasets",
        ReplicaSetStrategy(),
        cells.REPLICA_SET,
        short_names=("rs",),
        categories=("all",),
        subresources=("status", "scale"),
        selectable_fields=("status.replicas",),
    ),
    Resource(
        gvk.DEPLOYMENT,
        "deployments",
        DeploymentStrategy(),
        cells.DEPLOYMENT,
        short_names=("deploy",),
        categories=("all",),
        subresources=("status", "scale"),
    ),
    Resource(gvk.LEASE, "leases", LeaseStrategy(), cells.LEASE),
    Resource(gvk.ROLE, "roles", RoleStrategy(cluster=False), cells.ROLE),
    Resource(gvk.ROLE_BINDING, "rolebindings", BindingStrategy(cluster=False), cells.BINDING),
    Resource(
        gvk.CLUSTER_ROLE, "clusterroles", RoleStrategy(cluster=True), cells.ROLE, namespaced=False
    ),
    Resource(
        gvk.CLUSTER_ROLE_BINDING,
        "clusterrolebindings",
        BindingStrategy(cluster=True),
        cells.BINDING,
        namespaced=False,
    ),
    Resource(
        gvk.CUSTOM_RESOURCE_DEFINITION,
        "customresourcedefinitions",
        DefinitionStrategy(),
        definition.COLUMNS,
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=("status",),
        folder="apiextensions.k8s.io/customresourcedefinitions",
    ),
    *ROWS,
    *ADMISSION_ROWS,
)

# Kinds that are written to a subresource of another, and the subresource.
SUBRESOURCE_KINDS: dict[GroupVersionKind, tuple[GroupVersionKind, str]] = {
    gvk.BINDING: (gvk.POD, "binding"),
    gvk.TOKEN_REQUEST: (gvk.SERVICE_ACCOUNT, "token"),
}


class Resources:
    """Looks up rows by kind; the first version of a group in the table is its preferred one.

    Built-in rows stay; those of custom resources come and go with their definitions, and never
    hide a built-in one.
    """

    def __init__(
        self,
        table: Iterable[Resource] = TABLE,
        offered: Callable[[Resource], bool] = lambda _row: True,
    ) -> None:
        """`offered` says which rows clients are told of; the server itself uses all of them."""
        self._built_in = {row.gvk: row for row in table}
        self.offered = offered
        self._custom: dict[str, Sequence[Resource]] = {}
        # Counts changes, for what is made from all rows.
        self.generation = 0
        self._by_gvk: dict[GroupVersionKind, Resource] = {}
        self._by_plural: dict[tuple[str, str, str], Resource] = {}
        self._index()

    def custom(self, name: str) -> Sequence[Resource]:
        """The rows that the definition of that name has made."""
        return self._custom.get(name, ())

    def set_custom(self, name: str, rows: Sequence[Resource]) -> None:
        """Put the rows of a definition in the place of those that it had; none takes them away."""
        if rows:
            self._custom[name] = rows
        elif self._custom.pop(name, None) is None:
            return
        self._index()

    def _index(self) -> None:
        custom = [row for rows in self._custom.values() for row in rows]
        custom.sort(key=lambda row: (row.gvk.group, version_priority(row.gvk.version), row.plural))
        self._by_gvk, self._by_plural = {}, {}
        for row in (*self._built_in.values(), *custom):
            plural = (row.gvk.group, row.gvk.version, row.plural)
            if row.gvk not in self._by_gvk and plural not in self._by_plural:
                self._by_gvk[row.gvk] = self._by_plural[plural] = row
        self.generation += 1

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_gvk.values())

    def __getitem__(self, kind: GroupVersionKind) -> Resource:
        return self._by_gvk[kind]

    def find(self, api_version: str, kind: str) -> Resource | None:
        """The row of a kind by name; an empty `api_version` takes the preferred version."""
        if api_version:
            try:
                return self._by_gvk.get(GroupVersionKind(*parse_api_version(api_version), kind))
            except ValueError:
                return None
        named = (r for r in self._by_gvk.values() if r.gvk.kind == kind)
        return next(named, None)

    def offers(self) -> Iterator[Resource]:
        """What clients are told of."""
        return filter(self.offered, self)

    def find_offered(self, api_version: str, kind: str) -> Resource | None:
        """As `find`, for a client."""
        row = self.find(api_version, kind)
        return row if row is not None and self.offered(row) else None

    def find_plural(self, group: str, version: str, plural: str) -> Resource | None:
        """The row that a client's URL names."""
        row = self._by_plural.get((group, version, plural))
        return row if row is not None and self.offered(row) else None


def kinds(resources: Resources) -> Iterator[GroupVersionKind]:
    """Every kind that a request's body may have."""
    yield from (row.gvk for row in resources)
    yield from SUBRESOURCE_KINDS
    yield from (gvk.SCALE, gvk.EVICTION, *(row.gvk for row in REVIEWS))
