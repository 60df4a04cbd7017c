"""The FlowSchemas and priority levels that a server begins with, under upstream's names.

Source: Kubernetes documentation, "API Priority and Fairness", default configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kubraft.api.object import Object

API_VERSION: Final = "flowcontrol.apiserver.k8s.io/v1"
AUTOUPDATE: Final = "apf.kubernetes.io/autoupdate-spec"
EXEMPT: Final = "exempt"
CATCH_ALL: Final = "catch-all"
# Without these two no request could be placed; they are kept as they are.
MANDATORY: Final = (EXEMPT, CATCH_ALL)

_ALL: Final = ("*",)
_LEASE_VERBS: Final = ("get", "create", "update")
_EVERYBODY: Final = ("system:unauthenticated", "system:authenticated")

# Name: shares, percent that others may borrow, (queues, hand size, queue length); none rejects.
_LEVELS: Final[dict[str, tuple[int, int, tuple[int, int, int] | None]]] = {
    "system": (30, 33, (64, 6, 50)),
    "node-high": (40, 25, (64, 6, 50)),
    "leader-election": (10, 0, (16, 4, 50)),
    "workload-high": (40, 50, (128, 6, 50)),
    "workload-low": (100, 90, (128, 6, 50)),
    "global-default": (20, 50, (128, 6, 50)),
    CATCH_ALL: (5, 0, None),
}


def _level(name: str) -> Object:
    shares, lendable, queuing = _LEVELS[name]
    response: dict[str, Any] = {"type": "Reject"}
    if queuing is not None:
        queues, hand, length = queuing
        response = {
            "type": "Queue",
            "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": length},
        }
    limited = {
        "nominalConcurrencyShares": shares,
        "lendablePercent": lendable,
        "limitResponse": response,
    }
    return _object("PriorityLevelConfiguration", name, {"type": "Limited", "limited": limited})


def _exempt_level() -> Object:
    spec = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}
    return _object("PriorityLevelConfiguration", EXEMPT, spec)


def _object(kind: str, name: str, spec: dict[str, Any]) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}},
        "spec": spec,
    }


def _schema(
    name: str, level: str, precedence: int, by: str, rules: Sequence[dict[str, Any]]
) -> Object:
    spec: dict[str, Any] = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": list(rules),
    }
    if by:
        spec["distinguisherMethod"] = {"type": by}
    return _object("FlowSchema", name, spec)


def _groups(*names: str) -> list[dict[str, Any]]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _users(*names: str) -> list[dict[str, Any]]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


def _accounts(*names: str) -> list[dict[str, Any]]:
    return [
        {"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": "kube-system"}}
        for name in names
    ]


def _on(
    group: str,
    resources: Iterable[str],
    verbs: Iterable[str] = _ALL,
    *,
    cluster: bool = False,
    namespaces: Iterable[str] = _ALL,
) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "verbs": list(verbs),
        "apiGroups": [group],
        "resources": list(resources),
        "namespaces": list(namespaces),
    }
    if cluster:
        rule["clusterScope"] = True
    return rule


def _rules(subjects: list[dict[str, Any]], *on: dict[str, Any]) -> list[dict[str, Any]]:
    """What the subjects do with these resources; with everything where there are none."""
    if on:
        return [{"subjects": subjects, "resourceRules": list(on)}]
    urls = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    everything = [_on("*", _ALL, cluster=True)]
    return [{"subjects": subjects, "resourceRules": everything, "nonResourceRules": urls}]


def default_levels() -> list[Object]:
    """Every PriorityLevelConfiguration, in order of their names."""
    return [_exempt_level(), *map(_level, _LEVELS)]


def default_schemas() -> list[Object]:
    """Every FlowSchema, in the order in which they are tried."""
    by_user, by_namespace = "ByUser", "ByNamespace"
    health = [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]
    probes = [{"subjects": _groups(*_EVERYBODY), "nonResourceRules": health}]
    nodes = [*_groups("system:nodes"), *_users("system:hollow-nodes")]
    managers = _users("system:kube-controller-manager", "system:kube-scheduler")
    leases = _on("coordination.k8s.io", ["leases"], _LEASE_VERBS)
    return [
        _schema(EXEMPT, EXEMPT, 1, "", _rules(_groups("system:masters"))),
        _schema("probes", EXEMPT, 2, "", probes),
        _schema(
            "system-leader-election", "leader-election", 100, by_user,
            _rules([*managers, *_accounts("*")], leases),
        ),
        _schema(
            "system-node-high", "node-high", 400, by_user,
            _rules(
                nodes,
                _on("", ["nodes", "nodes/status"], cluster=True),
                _on("coordination.k8s.io", ["leases"]),
            ),
        ),
        _schema("system-nodes", "system", 500, by_user, _rules(nodes)),
        _schema(
            "kube-controller-manager", "workload-high", 800, by_namespace,
            _rules(_users("system:kube-controller-manager")),
        ),
        _schema(
            "kube-scheduler", "workload-high", 800, by_namespace,
            _rules(_users("system:kube-scheduler")),
        ),
        _schema(
            "kube-system-service-accounts", "workload-high", 900, by_namespace,
            _rules(_accounts("*")),
        ),
        _schema(
            "service-accounts", "workload-low", 9000, by_user,
            _rules(_groups("system:serviceaccounts")),
        ),
        _schema("global-default", "global-default", 9900, by_user, _rules(_groups(*_EVERYBODY))),
        _schema(CATCH_ALL, CATCH_ALL, 10000, by_user, _rules(_groups(*_EVERYBODY))),
    ]  # fmt: skip
