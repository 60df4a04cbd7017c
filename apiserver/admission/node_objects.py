"""What a node may write of kinds beside Pods: the last part of NodeRestriction.

Source: upstream's plugin of that name (rules and texts).
"""

from __future__ import annotations

import copy
from typing import Final

from apiserver.admission.certificates import common_name
from apiserver.admission.request import AdmissionRequest, Operation
from kubraft.api.object import Object, labels_of
from kubraft.api.storage import LOCAL_FINALIZER, LOCAL_NODE

_KUBELET_SIGNERS: Final = (
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/kube-apiserver-client-kubelet",
)
# As a volume grows.
_OF_CLAIMS: Final = (
    "capacity",
    "conditions",
    "allocatedResourceStatuses",
    "allocatedResources",
)


def admit_claim(node: str, request: AdmissionRequest) -> None:
    """Of a claim, a node writes how far its volume has grown, and nothing else."""
    if request.subresource != "status":
        raise request.forbidden(
            f"unexpected PVC subresource \"{request.subresource}\", only 'status' is allowed"
        )
    if request.operation is not Operation.UPDATE:
        raise request.forbidden(f'unexpected operation "{request.operation}"')
    if _rest_of_claim(request.obj) != _rest_of_claim(request.old):
        raise request.forbidden(
            f'node "{node}" is not allowed to update fields other than status.capacity and '
            "status.conditions"
        )


def admit_volume(node: str, request: AdmissionRequest) -> None:
    """Of a local volume of the node itself, that its directory is gone; upstream allows nothing."""
    if request.subresource or request.operation is not Operation.UPDATE:
        raise request.forbidden(f'unexpected operation "{request.operation}"')
    assert request.obj is not None
    assert request.old is not None
    if labels_of(request.old).get(LOCAL_NODE) != node:
        raise request.forbidden(f'node "{node}" can only update local volumes of its own')
    if _rest_of_volume(request.obj) != _rest_of_volume(request.old):
        raise request.forbidden(
            f'node "{node}" is not allowed to change more than the finalizer {LOCAL_FINALIZER}'
        )


def _rest_of_volume(volume: Object) -> Object:
    """All of a volume but the finalizer of its node, and who wrote what."""
    metadata = {k: v for k, v in volume["metadata"].items() if k != "managedFields"}
    finalizers = metadata.pop("finalizers", None) or ()
    metadata["finalizers"] = [each for each in finalizers if each != LOCAL_FINALIZER]
    return {**volume, "metadata": metadata}


def admit_csi_node(node: str, request: AdmissionRequest) -> None:
    """The drivers of the node itself."""
    name = request.name
    if request.operation is Operation.CREATE and request.obj is not None:
        name = request.obj["metadata"].get("name", "")
    if name != node:
        raise request.forbidden("can only access CSINode with the same name as the requesting node")


def admit_slice(node: str, request: AdmissionRequest) -> None:
    """The devices of the node itself; changes were seen by the authorizer."""
    for operation, obj, verb in (
        (Operation.CREATE, request.obj, "create"),
        (Operation.DELETE, request.old, "delete"),
    ):
        if request.operation is operation and _node_name(obj) != node:
            raise request.forbidden(
                f"can only {verb} ResourceSlice with the same NodeName as the requesting node"
            )


def admit_signing_request(node: str, request: AdmissionRequest) -> None:
    """A certificate for the node itself, where it is for nodes."""
    spec = (request.obj or {}).get("spec") or {}
    if request.operation is not Operation.CREATE or spec.get("signerName") not in _KUBELET_SIGNERS:
        return
    if common_name(spec) != f"system:node:{node}":
        raise request.forbidden(f"can only create a node CSR with CN=system:node:{node}")


def _rest_of_claim(claim: Object | None) -> Object:
    rest = copy.deepcopy(claim or {})
    for name in ("resourceVersion", "managedFields"):
        rest.get("metadata", {}).pop(name, None)
    status = rest.pop("status", None) or {}
    return {**rest, "status": {k: v for k, v in status.items() if k not in _OF_CLAIMS}}


def _node_name(obj: Object | None) -> str:
    return str(((obj or {}).get("spec") or {}).get("nodeName") or "")
