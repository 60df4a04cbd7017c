"""Pods with scheduling gates: the gates may go, never come, and placement may only be narrowed.

Source: Kubernetes documentation, "Pod Scheduling Readiness".
"""

from __future__ import annotations

from typing import Any, Final

from apiserver.registry.causes import forbidden, invalid
from kubraft.api.errors import Cause

_FEWER: Final = "only additions are allowed (no mutations or deletions)"
_FEWER_LABELS: Final = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"

Spec = dict[str, Any]


def gated_condition(since: str | None) -> dict[str, Any]:
    """The condition of a Pod that is created with gates, at the moment `since`."""
    return {
        "type": "PodScheduled",
        "status": "False",
        "lastTransitionTime": since,
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    }


def validate_gates(new: Spec, old: Spec) -> list[Cause]:
    """Rules on the gates of a Pod that is updated."""
    before = {gate["name"] for gate in old.get("schedulingGates") or ()}
    rule = "only deletion is allowed, but found new scheduling gate"
    return [
        forbidden(f"spec.schedulingGates[{index}].name", f"{rule} '{gate['name']}'")
        for index, gate in enumerate(new.get("schedulingGates") or ())
        if gate["name"] not in before
    ]


def validate_narrowed(new: Spec, old: Spec) -> list[Cause]:
    """Rules on where a Pod may go that still had gates: nowhere that it might not before."""
    after, before = new.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    causes: list[Cause] = []
    if any(after.get(key) != value for key, value in before.items()):
        causes.append(invalid("spec.nodeSelector", after, _FEWER_LABELS))
    path = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    required = _terms(old)
    if not required:
        return causes
    terms = _terms(new)
    if len(terms) != len(required):
        rule = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [*causes, invalid(path, terms, rule)]
    return causes + [
        invalid(f"{path}[{index}]", term, _FEWER)
        for index, (term, former) in enumerate(zip(terms, required, strict=True))
        if not _extends(term, former)
    ]


def _terms(spec: Spec) -> list[Spec]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return list((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ())


def _extends(term: Spec, former: Spec) -> bool:
    """Whether all requirements of `former` are still the first ones of `term`."""
    if not former.get("matchExpressions") and not former.get("matchFields"):
        return term == former  # it matches nothing, and would then match something
    return all(
        (term.get(kind) or [])[: len(former.get(kind) or [])] == (former.get(kind) or [])
        for kind in ("matchExpressions", "matchFields")
    )


def put_back_placement(fixed: Spec, old: Spec) -> None:
    """Put back what was judged by `validate_narrowed`; the rest of the affinity stays."""
    fixed.pop("nodeSelector", None)
    if "nodeSelector" in old:
        fixed["nodeSelector"] = old["nodeSelector"]
    affinity = {**(fixed.get("affinity") or {})}
    affinity.pop("nodeAffinity", None)
    if node_affinity := (old.get("affinity") or {}).get("nodeAffinity"):
        affinity["nodeAffinity"] = node_affinity
    if affinity or "affinity" in old:
        fixed["affinity"] = affinity
    else:
        fixed.pop("affinity", None)
