"""NodeRestriction: what a node agent may write, narrower than authorization can say.

Its own Node (but not its taints, nor labels that would draw Pods to it), the status of Pods bound
to it, their deletion, its own Lease, and tokens bound to its Pods.

Source: upstream's plugin of that name (rules and texts).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from apiserver.admission.node_objects import (
    admit_claim,
    admit_csi_node,
    admit_signing_request,
    admit_slice,
    admit_volume,
)
from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionRequest, Operation
from apiserver.authz.node import NODE_LEASE_NAMESPACE, NODES_GROUP, node_name
from apiserver.authz.pod_references import references_of
from apiserver.reader import Reader
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import (
    CERTIFICATE_SIGNING_REQUEST,
    CSI_NODE,
    LEASE,
    NODE,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    RESOURCE_SLICE,
    SERVICE_ACCOUNT,
    TOKEN_REQUEST,
)
from kubraft.api.object import Object, annotations_of, labels_of, uid_of
from kubraft.api.pods import node_of

MIRROR_POD: Final = "kubernetes.io/config.mirror"

# Labels in Kubernetes' own namespaces that a node may set on itself.
_NODE_LABELS: Final = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_NODE_LABEL_NAMESPACES: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESTRICTED_NAMESPACE: Final = "node-restriction.kubernetes.io"
_REFERENCES: Final = (
    ("secrets", "secrets"),
    ("configmaps", "configmaps"),
    ("persistentvolumeclaims", "persistentvolumeclaims"),
)


class NodeRestriction(Plugin):
    """Holds members of system:nodes to their own node."""

    name = "NodeRestriction"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, request: AdmissionRequest) -> bool:
        return NODES_GROUP in request.user.groups

    async def mutate(self, request: AdmissionRequest) -> None:
        node = node_name(request.user)
        if not node:
            raise request.forbidden(f'could not determine node from user "{request.user.name}"')
        if request.resource == "pods" or request.gvk == POD:
            self._admit_pod(node, request)
        elif request.gvk == NODE:
            _admit_node(node, request)
        elif request.gvk == LEASE:
            _admit_lease(node, request)
        elif request.gvk == PERSISTENT_VOLUME_CLAIM:
            admit_claim(node, request)
        elif request.gvk == PERSISTENT_VOLUME:
            admit_volume(node, request)
        elif request.gvk == CSI_NODE:
            admit_csi_node(node, request)
        elif request.gvk == RESOURCE_SLICE:
            admit_slice(node, request)
        elif request.gvk == CERTIFICATE_SIGNING_REQUEST:
            admit_signing_request(node, request)
        elif request.gvk in (TOKEN_REQUEST, SERVICE_ACCOUNT) and request.subresource == "token":
            self._admit_token(node, request)

    def _admit_pod(self, node: str, request: AdmissionRequest) -> None:
        match request.subresource, request.operation:
            case "", Operation.CREATE:
                self._admit_mirror_pod(node, request)
            case "", Operation.DELETE:
                pod = request.old or self._pod(request, request.name)
                if node_of(pod) != node:
                    raise request.forbidden(
                        f'node "{node}" can only delete pods with spec.nodeName set to itself'
                    )
            case "", operation:
                raise request.forbidden(
                    f'unexpected operation "{operation}", node "{node}" can only create and '
                    "delete mirror pods"
                )
            case "status", Operation.UPDATE:
                _admit_pod_status(node, request)
            case "eviction", Operation.CREATE:
                if node_of(self._pod(request, request.name)) != node:
                    raise request.forbidden(
                        f"node {node} can only evict pods with spec.nodeName set to itself"
                    )
            case (("status" | "eviction"), operation):
                raise request.forbidden(f'unexpected operation "{operation}"')
            case subresource, _:
                raise request.forbidden(
                    f"unexpected pod subresource \"{subresource}\", only 'status' and "
                    "'eviction' are allowed"
                )

    def _admit_mirror_pod(self, node: str, request: AdmissionRequest) -> None:
        pod = request.obj or {}
        if MIRROR_POD not in annotations_of(pod):
            raise request.forbidden(
                f'pod does not have "{MIRROR_POD}" annotation, node "{node}" can only create '
                "mirror pods"
            )
        if node_of(pod) != node:
            raise request.forbidden(
                f'node "{node}" can only create pods with spec.nodeName set to itself'
            )
        self._check_owner(node, request, pod["metadata"].get("ownerReferences") or [])
        if pod["spec"].get("serviceAccountName"):
            raise request.forbidden(
                f'node "{node}" can not create pods that reference a service account'
            )
        referred = {reference.resource for reference in references_of(pod)}
        for resource, shown in _REFERENCES:
            if resource in referred:
                raise request.forbidden(f'node "{node}" can not create pods that reference {shown}')
        for volume in pod["spec"].get("volumes") or ():
            sources = (volume.get("projected") or {}).get("sources") or ()
            if any("clusterTrustBundle" in source for source in sources):
                raise request.forbidden(
                    f'node "{node}" can not create pods that reference clustertrustbundles'
                )

    def _check_owner(self, node: str, request: AdmissionRequest, owners: list[Object]) -> None:
        """A mirror Pod goes with its node."""
        create = f'node "{node}" can only create pods with'
        if len(owners) > 1:
            raise request.forbidden(f"{create} a single owner reference set to itself")
        owner = owners[0] if owners else {}
        named = (owner.get("apiVersion"), owner.get("kind"), owner.get("name"))
        if named != ("v1", "Node", node):
            raise request.forbidden(f"{create} an owner reference set to itself")
        if not owner.get("controller"):
            raise request.forbidden(f"{create} a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            raise request.forbidden(
                f'node "{node}" must not set blockOwnerDeletion on an owner reference'
            )
        own = self._reader.get(NODE, "", node)
        if own is None:
            raise NotFoundError(f'nodes "{node}" not found', kind="nodes", name=node)
        if owner.get("uid") != uid_of(own):
            raise request.forbidden(
                f"node {node} UID mismatch: expected {owner.get('uid')} got {uid_of(own)}"
            )

    def _admit_token(self, node: str, request: AdmissionRequest) -> None:
        spec = (request.obj or {}).get("spec") or {}
        ref = spec.get("boundObjectRef") or {}
        if (ref.get("apiVersion"), ref.get("kind")) != ("v1", "Pod") or not ref.get("name"):
            raise request.forbidden("node requested token not bound to a pod")
        if not ref.get("uid"):
            raise request.forbidden("node requested token with a pod binding without a uid")
        pod = self._pod(request, ref["name"])
        if ref["uid"] != uid_of(pod):
            raise request.forbidden(
                f"the UID in the bound object reference ({ref['uid']}) does not match the UID in "
                "record. The object might have been deleted and then recreated"
            )
        if node_of(pod) != node:
            raise request.forbidden(
                "node requested token bound to a pod scheduled on a different node"
            )

    def _pod(self, request: AdmissionRequest, name: str) -> Object:
        pod = self._reader.get(POD, request.namespace, name)
        if pod is None:
            raise NotFoundError(f'pods "{name}" not found', kind="pods", name=name)
        return pod


def _admit_pod_status(node: str, request: AdmissionRequest) -> None:
    old, new = request.old or {}, request.obj or {}
    if node_of(old) != node:
        raise request.forbidden(
            f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'  # noqa: S608 - no SQL
        )
    if labels_of(old) != labels_of(new):
        raise request.forbidden(f'node "{node}" cannot update labels through pod status')
    if _claims(old) != _claims(new):
        raise request.forbidden(f'node "{node}" cannot update resource claim statues')


def _claims(pod: Object) -> list[object]:
    found = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    return [(each.get("name"), each.get("resourceClaimName")) for each in found]


def _admit_node(node: str, request: AdmissionRequest) -> None:
    requested = request.name or ((request.obj or {}).get("metadata") or {}).get("name", "")
    if requested != node:
        raise request.forbidden(f'node "{node}" is not allowed to modify node "{requested}"')
    source = ((request.obj or {}).get("spec") or {}).get("configSource")
    if request.operation is Operation.CREATE and request.obj is not None:
        if source is not None:
            raise request.forbidden(
                f'node "{node}" is not allowed to create pods with a non-nil configSource'
            )
        labels = forbidden_labels(labels_of(request.obj), {})
        if labels:
            raise request.forbidden(
                f'node "{node}" is not allowed to set the following labels: {", ".join(labels)}'
            )
    if request.operation is Operation.UPDATE and request.obj and request.old:
        if source is not None and source != (request.old.get("spec") or {}).get("configSource"):
            raise request.forbidden(
                f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
            )
        if _taints(request.obj) != _taints(request.old):
            raise request.forbidden(f'node "{node}" is not allowed to modify taints')
        labels = forbidden_labels(labels_of(request.obj), labels_of(request.old))
        if labels:
            raise request.forbidden(f"is not allowed to modify labels: {', '.join(labels)}")


def _taints(node: Object) -> list[object]:
    return list((node.get("spec") or {}).get("taints") or ())


def forbidden_labels(new: dict[str, str], old: dict[str, str]) -> list[str]:
    """The labels that differ and that a node may not set on itself, sorted."""
    changed = (key for key in {*new, *old} if new.get(key) != old.get(key))
    return sorted(_forbidden(changed))


def _forbidden(keys: Iterable[str]) -> Iterable[str]:
    for key in keys:
        namespace = key.rpartition("/")[0]
        if _within(namespace, _RESTRICTED_NAMESPACE):
            yield key
        elif _within(namespace, "kubernetes.io") or _within(namespace, "k8s.io"):
            own = any(_within(namespace, allowed) for allowed in _NODE_LABEL_NAMESPACES)
            if key not in _NODE_LABELS and not own:
                yield key


def _within(namespace: str, parent: str) -> bool:
    return namespace == parent or namespace.endswith(f".{parent}")


def _admit_lease(node: str, request: AdmissionRequest) -> None:
    if request.namespace != NODE_LEASE_NAMESPACE:
        raise request.forbidden(
            f'can only access leases in the "{NODE_LEASE_NAMESPACE}" system namespace'
        )
    name = request.name
    if request.operation is Operation.CREATE and request.obj is not None:
        name = request.obj["metadata"].get("name", "")
    if name != node:
        raise request.forbidden(
            "can only access node lease with the same name as the requesting node"
        )
