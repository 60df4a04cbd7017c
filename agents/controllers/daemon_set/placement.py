"""Which nodes a DaemonSet's Pods belong on, and what such a Pod looks like.

Source: Kubernetes documentation, "DaemonSet, How Daemon Pods are scheduled" (affinity by name,
tolerations); upstream's daemon controller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.controllers.node_lifecycle.taint import taints_of, tolerates
from agents.controllers.pod_template import pod_of_template
from kubraft.api.labels import LabelSelector, requirement_from_object, selector_from_labels
from kubraft.api.object import Object, annotations_of, key_of, labels_of
from kubraft.api.pods import node_of

HASH = "controller-revision-hash"
GENERATION = "pod-template-generation"
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_NODE = "node.kubernetes.io/"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)
_OF_HOST_NETWORK = ("network-unavailable", "NoSchedule")


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a Pod should run on a node, and whether one that is there may stay."""

    run: bool
    stay: bool


def fit(daemon_set: Object, node: Object) -> Fit:
    """How the node suits the DaemonSet's Pods."""
    spec = daemon_set["spec"]["template"]["spec"]
    name = key_of(node).name
    if spec.get("nodeName") not in (None, "", name) or not _is_chosen(spec, node):
        return Fit(run=False, stay=False)
    tolerations = tolerations_of(spec)
    minded = [
        taint.get("effect")
        for taint in taints_of(node)
        if not any(tolerates(each, taint) for each in tolerations)
    ]
    if "NoExecute" in minded:
        return Fit(run=False, stay=False)
    return Fit(run="NoSchedule" not in minded, stay=True)


def tolerations_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The template's tolerations and those that every daemon has."""
    added = [*_TOLERATED, *([_OF_HOST_NETWORK] if spec.get("hostNetwork") else [])]
    own = list(spec.get("tolerations") or ())
    extra = [{"key": _NODE + key, "operator": "Exists", "effect": effect} for key, effect in added]
    return [*own, *(toleration for toleration in extra if toleration not in own)]


def daemon_pod(daemon_set: Object, name: str, node: str, digest: str) -> Object:
    """The Pod `name` for `node`, of the revision with that hash."""
    labels = {HASH: digest}
    if generation := annotations_of(daemon_set).get(_TEMPLATE_GENERATION):
        labels[GENERATION] = generation
    pod = pod_of_template(daemon_set, name, labels=labels)
    spec = pod["spec"]
    spec["tolerations"] = tolerations_of(spec)
    affinity = spec.setdefault("affinity", {})
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    term = {"matchFields": [field]}
    affinity.setdefault("nodeAffinity", {})[_REQUIRED] = {"nodeSelectorTerms": [term]}
    return pod


def target_of(pod: Object) -> str:
    """The node that the Pod is on or meant for; "" where that cannot be told."""
    if name := node_of(pod):
        return name
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    for term in (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and len(field.get("values") or ()) == 1:
                name_: str = field["values"][0]
                return name_
    return ""


def _is_chosen(spec: Mapping[str, Any], node: Object) -> bool:
    """Whether the template's nodeSelector and required node affinity allow the node."""
    if not selector_from_labels(spec.get("nodeSelector")).matches(labels_of(node)):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    if not required:
        return True
    return any(_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term(term: Mapping[str, Any], node: Object) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    try:
        labels = LabelSelector(requirement_from_object(each) for each in expressions)
        names = LabelSelector(requirement_from_object(each) for each in fields)
    except ValueError:
        return False
    return labels.matches(labels_of(node)) and names.matches({"metadata.name": key_of(node).name})
