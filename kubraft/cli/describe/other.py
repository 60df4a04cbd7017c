"""Nodes, Services, Namespaces, and any other kind in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubraft.api.conditions import conditions_of
from kubraft.api.object import Object, key_of
from kubraft.api.pods import Resources, is_pod_ready, is_terminated, pod_limits, pod_requests
from kubraft.api.quantity import ZERO, Quantity, parse_quantity
from kubraft.cli.describe.page import Page, long_time, pairs

_SHOWN_RESOURCES: Final = ("cpu", "memory")
# Mappings whose keys are people's, not the schema's.
_PLAIN_MAPS: Final = frozenset(
    {"data", "binaryData", "stringData", "matchLabels", "nodeSelector", "hard", "used"}
)
_SECRET_KIND: Final = "Secret"  # noqa: S105 - the name of a kind


def describe_node(page: Page, node: Object, pods: list[Object]) -> None:
    """One Node and the Pods on it."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    taints = [_taint(taint) for taint in spec.get("taints") or ()]
    page.field("Taints", taints)
    page.field("Unschedulable", bool(spec.get("unschedulable")))
    page.field("PodCIDR", spec.get("podCIDR"))
    page.table(
        "Conditions",
        ["Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message"],
        (
            [
                c.get("type", ""),
                c.get("status", ""),
                long_time(c.get("lastHeartbeatTime")),
                long_time(c.get("lastTransitionTime")),
                c.get("reason", ""),
                c.get("message", ""),
            ]
            for c in conditions_of(node)
        ),
    )
    page.field("Addresses", {a["type"]: a["address"] for a in status.get("addresses") or ()})
    for kind in ("capacity", "allocatable"):
        page.field(kind.capitalize(), status.get(kind))
    page.field("System Info", status.get("nodeInfo"))
    running = [pod for pod in pods if not is_terminated(pod)]
    page.table(
        f"Non-terminated Pods ({len(running)} in total)",
        ["Namespace", "Name", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits"],
        (_pod_row(pod) for pod in running),
    )
    _allocated(page, running, parse_amounts(status.get("allocatable")))


def _taint(taint: Mapping[str, Any]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key', '')}{value}:{taint.get('effect', '')}"


def _pod_row(pod: Object) -> list[str]:
    key = key_of(pod)
    requests, limits = pod_requests(pod), pod_limits(pod)
    amounts = [
        str(amounts.get(name, ZERO)) for name in _SHOWN_RESOURCES for amounts in (requests, limits)
    ]
    return [key.namespace, key.name, *amounts]


def _allocated(page: Page, pods: list[Object], allocatable: Resources) -> None:
    rows = []
    for name in _SHOWN_RESOURCES:
        row = [name]
        for amounts_of in (pod_requests, pod_limits):
            total = sum((amounts_of(pod).get(name, ZERO) for pod in pods), ZERO)
            row.append(_share(total, allocatable.get(name, ZERO)))
        rows.append(row)
    page.table("Allocated resources", ["Resource", "Requests", "Limits"], rows)


def _share(amount: Quantity, whole: Quantity) -> str:
    return f"{amount} ({amount.nano * 100 // whole.nano}%)" if whole else str(amount)


def parse_amounts(amounts: Mapping[str, str] | None) -> Resources:
    """Amounts of resources by name."""
    return {name: parse_quantity(text) for name, text in (amounts or {}).items()}


def describe_service(page: Page, service: Object, pods: list[Object]) -> None:
    """One Service and the addresses behind it: its ready Pods."""
    spec = service["spec"]
    page.field("Selector", pairs(spec.get("selector")))
    page.field("Type", spec.get("type", "ClusterIP"))
    page.field("IP", spec.get("clusterIP"))
    for port in spec.get("ports") or ():
        label = port.get("name") or "<unset>"
        page.field("Port", f"{label}  {port.get('port')}/{port.get('protocol', 'TCP')}")
        target = port.get("targetPort", port.get("port"))
        page.field("TargetPort", f"{target}/{port.get('protocol', 'TCP')}")
        if port.get("nodePort"):
            page.field("NodePort", f"{label}  {port['nodePort']}/{port.get('protocol', 'TCP')}")
        addresses = [
            f"{pod['status']['podIP']}:{target}"
            for pod in pods
            if is_pod_ready(pod) and (pod.get("status") or {}).get("podIP")
        ]
        page.field("Endpoints", ",".join(addresses))
    page.field("Session Affinity", spec.get("sessionAffinity", "None"))


def describe_namespace(page: Page, namespace: Object, policies: list[Object]) -> None:
    """One Namespace with its quotas and limits."""
    page.field("Status", (namespace.get("status") or {}).get("phase", "Active"))
    page.table(
        "Conditions",
        ["Type", "Status", "Reason", "Message"],
        (
            [c.get("type", ""), c.get("status", ""), c.get("reason", ""), c.get("message", "")]
            for c in conditions_of(namespace)
        ),
    )
    for policy in policies:
        name = policy["metadata"]["name"]
        if policy["kind"] == "ResourceQuota":
            hard = (policy.get("spec") or {}).get("hard") or {}
            used = (policy.get("status") or {}).get("used") or {}
            rows = [[r, used.get(r, "0"), hard[r]] for r in sorted(hard)]
            page.table(f"Resource Quota {name}", ["Resource", "Used", "Hard"], rows)
        else:
            _limit_range(page, name, policy)


def _limit_range(page: Page, name: str, policy: Object) -> None:
    fields = ("min", "max", "defaultRequest", "default", "maxLimitRequestRatio")
    rows = []
    for item in (policy.get("spec") or {}).get("limits") or ():
        for resource in sorted({r for field in fields for r in item.get(field) or {}}):
            amounts = [str((item.get(field) or {}).get(resource, "-")) for field in fields]
            rows.append([item.get("type", ""), resource, *amounts])
    header = ["Type", "Resource", "Min", "Max", "Default Request", "Default Limit", "Max Ratio"]
    page.table(f"Limit Range {name}", header, rows)


def describe_any(page: Page, obj: Object) -> None:
    """Every field but the metadata; of a Secret only how long its values are."""
    for field, value in obj.items():
        if field in ("apiVersion", "kind", "metadata"):
            continue
        if obj.get("kind") == _SECRET_KIND and field in ("data", "stringData"):
            shown: Any = {name: f"{len(text)} characters" for name, text in (value or {}).items()}
        else:
            shown = value
        _tree(page, field, shown)


def _tree(page: Page, field: str, value: Any) -> None:
    label = _title(field)
    if isinstance(value, Mapping) and value and field not in _PLAIN_MAPS:
        page.begin(label)
        for name, inner in value.items():
            _tree(page, str(name), inner)
        page.end()
    elif isinstance(value, Mapping) and value:
        page.begin(label)
        for name, inner in value.items():
            page.field(str(name), inner)
        page.end()
    elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        page.begin(label)
        for index, part in enumerate(value):
            _tree(page, str(index), part)
        page.end()
    else:
        page.field(label, value)


def _title(field: str) -> str:
    """Say "roleRef" as "Role Ref"; names that are no field names stay."""
    if not field.isalnum():
        return field
    words = "".join(f" {c}" if c.isupper() else c for c in field)
    return words[:1].upper() + words[1:]


def describe_role(page: Page, role: Object) -> None:
    """What a Role or ClusterRole allows, a line for each resource or URL."""
    rows = []
    for rule in role.get("rules") or ():
        names, verbs = _listed(rule.get("resourceNames")), _listed(rule.get("verbs"))
        groups = rule.get("apiGroups") or [""]
        rows += [
            [f"{resource}.{group}" if group else resource, "[]", names, verbs]
            for group in groups
            for resource in rule.get("resources") or ()
        ]
        rows += [["", f"[{url}]", names, verbs] for url in rule.get("nonResourceURLs") or ()]
    header = ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"]
    page.table("PolicyRule", header, sorted(rows))


def describe_binding(page: Page, binding: Object) -> None:
    """The role of a binding, and to whom it is given."""
    ref = binding.get("roleRef") or {}
    page.begin("Role")
    page.field("Kind", ref.get("kind"))
    page.field("Name", ref.get("name"))
    page.end()
    subjects = binding.get("subjects") or ()
    rows = ([s.get("kind", ""), s.get("name", ""), s.get("namespace", "")] for s in subjects)
    page.table("Subjects", ["Kind", "Name", "Namespace"], rows)


def _listed(words: list[str] | None) -> str:
    return f"[{' '.join(words or ())}]"
