"""Which objects belong to a node: through its Pods, their claims, and the volumes of those.

Source: Kubernetes documentation, "Using Node Authorization"; upstream's graph of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from apiserver.authz.pod_references import Reference, references_of
from kubraft.api.object import Object
from kubraft.api.pods import node_of

# What of a volume's secrets a node mounts with; others are for controllers.
_SECRET_FIELDS = ("secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef")


class NodeGraph:
    """For each node, the objects that its Pods refer to, counted by Pod; and volumes by Secret."""

    def __init__(self) -> None:
        self._references: dict[str, Counter[Reference]] = {}
        self._claims: dict[Reference, Counter[Reference]] = {}

    def on_change(self, old: Object | None, new: Object | None) -> None:
        """Follow one change of a Pod; ignores those that change neither node nor references."""
        before, after = _bound_references(old), _bound_references(new)
        if before == after:
            return
        for node, references in before:
            counter = self._references[node]
            counter.subtract(references)
            for reference in references:
                if counter[reference] <= 0:
                    del counter[reference]
            if not counter:
                del self._references[node]
        for node, references in after:
            self._references.setdefault(node, Counter()).update(references)

    def on_volume_change(self, old: Object | None, new: Object | None) -> None:
        """Follow one change of a PersistentVolume."""
        for volume, step in ((old, -1), (new, 1)):
            claim = claim_of(volume)
            if volume is None or claim is None:
                continue
            for secret in _secrets_of(volume, claim.namespace):
                counter = self._claims.setdefault(secret, Counter())
                counter[claim] += step
                if counter[claim] <= 0:
                    del counter[claim]
                if not counter:
                    del self._claims[secret]

    def connects(self, node: str, reference: Reference) -> bool:
        """Whether a Pod bound to `node` needs the object."""
        own = self._references.get(node, ())
        if reference in own:
            return True
        return any(claim in own for claim in self._claims.get(reference, ()))

    def connects_volume(self, node: str, volume: Object | None) -> bool:
        """Whether a Pod bound to `node` has a claim to the PersistentVolume."""
        claim = claim_of(volume)
        return claim is not None and claim in self._references.get(node, ())


def claim_of(volume: Object | None) -> Reference | None:
    """The claim that a PersistentVolume is bound to."""
    ref = ((volume or {}).get("spec") or {}).get("claimRef") or {}
    if not ref.get("name"):
        return None
    return Reference("persistentvolumeclaims", ref.get("namespace", ""), ref["name"])


def _secrets_of(volume: Object, namespace: str) -> Iterator[Reference]:
    for name, source in volume["spec"].items():
        if not isinstance(source, dict):
            continue
        if name == "azureFile" and source.get("secretName"):
            within = source.get("secretNamespace") or namespace
            yield Reference("secrets", within, source["secretName"])
        for field in _SECRET_FIELDS:
            ref = source.get(field)
            if isinstance(ref, dict) and ref.get("name"):
                yield Reference("secrets", ref.get("namespace") or namespace, ref["name"])


def _bound_references(pod: Object | None) -> list[tuple[str, frozenset[Reference]]]:
    if pod is None or not node_of(pod):
        return []
    return [(node_of(pod), references_of(pod))]
