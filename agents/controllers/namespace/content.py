"""What is left in a terminating Namespace, and how its status says so.

Source: Kubernetes API reference, NamespaceCondition; Kubernetes documentation, "Namespaces".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kubraft.api.conditions import Condition, is_true, with_condition
from kubraft.api.object import Object

# The finalizer in `spec.finalizers` that stands for "its content is not gone yet".
FINALIZER = "kubernetes"


@dataclass(slots=True)
class Content:
    """What one round of deletion left behind."""

    remaining: Counter[str] = field(default_factory=Counter)  # "pods.", "deployments.apps"
    finalizers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    # Of groups' versions that cannot be asked after now, and why.
    undiscovered: list[str] = field(default_factory=list)

    def add(self, resource: str, objects: Iterable[Object]) -> None:
        """Count `objects` of `resource`, named "plural.group"."""
        for obj in objects:
            self.remaining[resource] += 1
            self.finalizers.update(obj["metadata"].get("finalizers") or ())

    def is_gone(self) -> bool:
        """Whether nothing is left and nothing is unknown."""
        return not self.remaining and not self.failures and not self.undiscovered


def conditions(old: Sequence[Condition] | None, content: Content, now: datetime) -> list[Condition]:
    """The Namespace's conditions after a round that left `content`."""
    result = list(old or ())
    for type_, status, reason, message in _told(content):
        fresh = {"type": type_, "status": status, "reason": reason, "message": message}
        result = with_condition(result, fresh, now)
    return result


def _told(content: Content) -> Iterable[tuple[str, str, str, str]]:
    if content.undiscovered:
        text = "unable to retrieve the complete list of server APIs"
        message = f"Discovery failed for some groups, {len(content.undiscovered)} failing: {text}: "
        message += ", ".join(content.undiscovered)
        yield "NamespaceDeletionDiscoveryFailure", "True", "DiscoveryFailed", message
    else:
        yield (
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        )
    yield (
        "NamespaceDeletionGroupVersionParsingFailure",
        "False",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    )
    if content.failures:
        text = "; ".join(content.failures)
        message = f"Failed to delete all resource types, {len(content.failures)} remaining: {text}"
        yield "NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", message
    else:
        message = "All content successfully deleted, may be waiting on finalization"
        yield "NamespaceDeletionContentFailure", "False", "ContentDeleted", message
    if content.remaining:
        counts = [f"{name} has {n} resource instances" for name, n in _sorted(content.remaining)]
        message = f"Some resources are remaining: {', '.join(counts)}"
        yield "NamespaceContentRemaining", "True", "SomeResourcesRemain", message
    else:
        message = "All content successfully removed"
        yield "NamespaceContentRemaining", "False", "ContentRemoved", message
    if content.finalizers:
        counts = [f"{name} in {n} resource instances" for name, n in _sorted(content.finalizers)]
        message = f"Some content in the namespace has finalizers remaining: {', '.join(counts)}"
        yield "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message
    else:
        message = "All content-preserving finalizers finished"
        yield "NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", message


def undiscovered(api_services: Iterable[Object], known: Iterable[str]) -> list[str]:
    """The versions of extension servers of which it is not known what they have. Pure.

    Args:
        known: the apiVersions of all kinds that are known.
    """
    versions = set(known)
    found = []
    for each in api_services:
        spec = each["spec"]
        if not spec.get("service"):
            continue
        api_version = f"{spec.get('group')}/{spec.get('version')}"
        if not is_true(each, "Available"):
            found.append(f"{api_version}: the server is currently unable to handle the request")
        elif api_version not in versions:
            found.append(f"{api_version}: stale GroupVersion discovery: {api_version}")
    return sorted(found)


def _sorted(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items())


def finalized(namespace: Object) -> Object:
    """`namespace` without the finalizer that its content held up."""
    spec = dict(namespace.get("spec") or {})
    spec["finalizers"] = [f for f in spec.get("finalizers") or () if f != FINALIZER]
    return {**namespace, "spec": spec}
