"""How each kind prints: the cells of its table row.

Source: the columns that kubectl shows; upstream's printers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from apiserver.registry.resource import Column, Columns
from kubraft.api.duration import age
from kubraft.api.labels import selector_from_object
from kubraft.api.object import Object, labels_of

NAME = Column(
    "Name",
    format="name",
    description="Name must be unique within a namespace. Is required when creating resources.",
)
AGE = Column("Age", description="Time since the object was created.")
CREATED = Column("Created At", description="When the object was created.")
NONE, UNKNOWN = "<none>", "<unknown>"


def created(obj: Object, now: datetime) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def joined(values: Iterable[Any]) -> str:
    return ",".join(map(str, values)) or NONE


def _selector(obj: Object) -> str:
    return str(selector_from_object((obj.get("spec") or {}).get("selector"))) or NONE


def _images(obj: Object) -> list[str]:
    containers = obj["spec"].get("template", {}).get("spec", {}).get("containers") or ()
    return [
        ",".join(c.get("name", "") for c in containers),
        ",".join(c.get("image", "") for c in containers),
    ]


def simple(
    *columns: Column | str, cells: Callable[[Object, datetime], list[Any]] | None = None
) -> Columns:
    """Columns with the name in front and the age at the end; `cells` fills those between."""
    between = tuple(Column(c) if isinstance(c, str) else c for c in columns)

    def row(obj: Object, now: datetime) -> list[Any]:
        inner = cells(obj, now) if cells else []
        return [obj["metadata"]["name"], *inner, created(obj, now)]

    return Columns((NAME, *between, AGE), row)


def wide(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, priority=1) for name in names)


def _with_wide(base: Columns, extra: tuple[Column, ...], cells: Callable[[Object], Any]) -> Columns:
    def row(obj: Object, now: datetime) -> list[Any]:
        return [*base.cells(obj, now), *cells(obj)]

    return Columns((*base.definitions, *extra), row)


def _created_at() -> Columns:
    return Columns(
        (NAME, CREATED),
        lambda obj, _: [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", UNKNOWN)],
    )


def _count(obj: Object, *fields: str) -> int:
    return sum(len(obj.get(field) or ()) for field in fields)


def _roles(node: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    found = sorted(k.removeprefix(prefix) for k in labels_of(node) if k.startswith(prefix))
    return joined(role for role in found if role)


def _node_status(node: Object) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = next((c for c in conditions if c.get("type") == "Ready"), None)
    shown = ["Unknown"] if ready is None else ["Ready" if ready["status"] == "True" else "NotReady"]
    if (node.get("spec") or {}).get("unschedulable"):
        shown.append("SchedulingDisabled")
    return ",".join(shown)


def _node_wide(node: Object) -> list[Any]:
    status = node.get("status") or {}
    addresses = {a.get("type"): a.get("address") for a in reversed(status.get("addresses") or ())}
    info = status.get("nodeInfo") or {}
    return [
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _deployment(obj: Object, _: datetime) -> list[Any]:
    status = obj.get("status") or {}
    wanted = obj["spec"].get("replicas", 1)
    return [
        f"{status.get('readyReplicas', 0)}/{wanted}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
    ]


def _replica_set(obj: Object, _: datetime) -> list[Any]:
    status = obj.get("status") or {}
    counts = [status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [obj["spec"].get("replicas", 1), *counts]


def _service(obj: Object, _: datetime) -> list[Any]:
    spec = obj["spec"]
    ports = ",".join(
        f"{p.get('port')}{_node_port(p)}/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports") or ()
    )
    return [spec.get("type", ""), spec.get("clusterIP") or NONE, _external(obj), ports or NONE]


def _node_port(port: dict[str, Any]) -> str:
    return f":{port['nodePort']}" if port.get("nodePort") else ""


def _external(obj: Object) -> str:
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", NONE))
    external = list(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer":
        ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        found = (i.get("ip") or i.get("hostname") for i in ingress)
        external += [address for address in found if address]
        return ",".join(external) or "<pending>"
    return joined(external)


def _labels(labels: dict[str, str] | None) -> str:
    return joined(f"{k}={v}" for k, v in sorted((labels or {}).items()))


def _event(obj: Object, now: datetime) -> list[Any]:
    involved = obj.get("involvedObject") or {}
    last = obj.get("lastTimestamp") or obj.get("eventTime")
    last = (obj.get("series") or {}).get("lastObservedTime") or last
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent", "")
    host = source.get("host") or obj.get("reportingInstance", "")
    count = (obj.get("series") or {}).get("count") or obj.get("count") or 1
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{involved.get('kind', '').lower()}/{involved.get('name', '')}",
        involved.get("fieldPath", ""),
        f"{component}, {host}" if host and component else component,
        obj.get("message", "").strip(),
        age(first, now),
        count,
        obj["metadata"]["name"],
    ]


def _quota(obj: Object, _: datetime) -> list[Any]:
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        shown = f"{name}: {used.get(name, '0')}/{hard[name]}"
        (limits if name.startswith("limits.") else requests).append(shown)
    return [", ".join(requests), ", ".join(limits)]


def _binding_wide(obj: Object) -> list[Any]:
    by_kind: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        name = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount":
            name = f"{subject.get('namespace', '')}/{name}"
        by_kind.setdefault(subject.get("kind", ""), []).append(name)
    return [", ".join(by_kind[kind]) for kind in ("User", "Group", "ServiceAccount")]


_INT = "integer"

NAMESPACE = simple("Status", cells=lambda o, _: [(o.get("status") or {}).get("phase", "")])
NODE = _with_wide(
    Columns(
        (NAME, Column("Status"), Column("Roles"), AGE, Column("Version")),
        lambda o, now: [
            o["metadata"]["name"],
            _node_status(o),
            _roles(o),
            created(o, now),
            ((o.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", ""),
        ],
    ),
    wide("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
    _node_wide,
)
DEPLOYMENT = _with_wide(
    simple("Ready", Column("Up-to-date", _INT), Column("Available", _INT), cells=_deployment),
    wide("Containers", "Images", "Selector"),
    lambda o: [*_images(o), _selector(o)],
)
REPLICA_SET = _with_wide(
    simple(
        Column("Desired", _INT), Column("Current", _INT), Column("Ready", _INT), cells=_replica_set
    ),
    wide("Containers", "Images", "Selector"),
    lambda o: [*_images(o), _selector(o)],
)
SERVICE = _with_wide(
    simple("Type", "Cluster-IP", "External-IP", "Port(s)", cells=_service),
    wide("Selector"),
    lambda o: [_labels(o["spec"].get("selector"))],
)
CONFIG_MAP = simple(Column("Data", _INT), cells=lambda o, _: [_count(o, "data", "binaryData")])
SECRET = simple(
    "Type", Column("Data", _INT), cells=lambda o, _: [o.get("type", ""), _count(o, "data")]
)
SERVICE_ACCOUNT = simple(Column("Secrets", _INT), cells=lambda o, _: [_count(o, "secrets")])
LEASE = simple("Holder", cells=lambda o, _: [(o.get("spec") or {}).get("holderIdentity", "")])
EVENT = Columns(
    (
        Column("Last Seen"),
        Column("Type"),
        Column("Reason"),
        Column("Object"),
        Column("Subobject", priority=1),
        Column("Source", priority=1),
        Column("Message"),
        Column("First Seen", priority=1),
        Column("Count", _INT, priority=1),
        Column("Name", priority=1, format="name"),
    ),
    _event,
)
LIMIT_RANGE = _created_at()
RESOURCE_QUOTA = Columns(
    (NAME, Column("Request"), Column("Limit"), AGE),
    lambda o, now: [o["metadata"]["name"], *_quota(o, now), created(o, now)],
)
ROLE = _created_at()
BINDING = _with_wide(
    simple("Role", cells=lambda o, _: [f"{o['roleRef'].get('kind')}/{o['roleRef'].get('name')}"]),
    wide("Users", "Groups", "ServiceAccounts"),
    _binding_wide,
)
