from typing import Any

import pytest

from apiserver.admission import AdmissionRequest
from apiserver.admission.node_restriction import MIRROR_POD, NodeRestriction
from kubraft.api.errors import ApiError, ForbiddenError
from kubraft.api.object import Object
from tests.apiserver.admission.requests import request
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import MASTER, NODE_0, cluster_scoped, namespaced, user
from tests.apiserver.registry.more_kind_cases import signing_request


def pod(name: str = "web", node: str = "node-0", **metadata: Any) -> Object:
    return namespaced(
        "Pod", name, metadata={"uid": f"{name}-uid", **metadata}, spec={"nodeName": node}
    )


def node(name: str = "node-0", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    metadata = {"uid": f"{name}-uid", "labels": labels or {}}
    return cluster_scoped("Node", name, metadata=metadata, spec=spec)


def lease(name: str, namespace: str = "kube-node-lease") -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
    }


def mirror(**metadata: Any) -> Object:
    return pod(
        "mirror",
        **{"annotations": {MIRROR_POD: "x"}, "ownerReferences": [owner()], **metadata},
    )


def owner(**fields: Any) -> Object:
    own = {"apiVersion": "v1", "kind": "Node", "name": "node-0", "uid": "node-0-uid"}
    return {**own, "controller": True, **fields}


def mirror_with(**volume: Any) -> Object:
    made = mirror()
    made["spec"]["volumes"] = [{"name": "v", **volume}]
    return made


def claim(**fields: Any) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"]}
    return {**namespaced("PersistentVolumeClaim", "data", spec=spec), **fields}


def local_volume(*finalizers: str, node: str = "node-0", **spec: Any) -> Object:
    metadata = {"labels": {"kubraft.io/node": node}, "finalizers": list(finalizers)}
    return cluster_scoped("PersistentVolume", "disk", metadata=metadata, spec=spec)


OURS = "kubraft.io/local-volume"


def of_node(api_version: str, kind: str, name: str, node: str = "") -> Object:
    made = cluster_scoped(kind, name, spec={"nodeName": node})
    return {**made, "apiVersion": api_version}


def slice_of(node: str) -> Object:
    return of_node("resource.k8s.io/v1", "ResourceSlice", "gpus", node)


def csi_node(name: str) -> Object:
    return of_node("storage.k8s.io/v1", "CSINode", name)


def signing(name: str, signer: str = "kubernetes.io/kubelet-serving") -> Object:
    made = cluster_scoped("CertificateSigningRequest", "csr")
    spec = {"request": signing_request(name, "system:nodes"), "signerName": signer}
    return {**made, "apiVersion": "certificates.k8s.io/v1", "spec": spec}


def token(**ref: str) -> AdmissionRequest:
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "web-uid", **ref}
    return request(
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": "default", "namespace": "shop"},
            "spec": {"boundObjectRef": {k: v for k, v in bound.items() if v}},
        },
        user=NODE_0,
        resource="serviceaccounts",
        subresource="token",
    )


def by_node(obj: Object | None, old: Object | None = None, subresource: str = "") -> Any:
    return request(obj, old=old, user=NODE_0, subresource=subresource)


TAINT = {"key": "a", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        pytest.param(by_node(node()), None, id="registers"),
        pytest.param(
            by_node(node(labels={"kubernetes.io/hostname": "x", "own": "y"})), None,
            id="registers with labels",
        ),
        pytest.param(
            by_node(node("node-1")), 'node "node-0" is not allowed to modify node "node-1"',
            id="registers another",
        ),
        pytest.param(
            by_node(node(labels={"node-role.kubernetes.io/control-plane": ""})),
            'node "node-0" is not allowed to set the following labels: '
            "node-role.kubernetes.io/control-plane",
            id="takes a role",
        ),
        pytest.param(by_node(node(), node(), "status"), None, id="its status"),
        pytest.param(
            by_node(node("node-1"), node("node-1"), "status"),
            'node "node-0" is not allowed to modify node "node-1"', id="another's status",
        ),
        pytest.param(
            by_node(node(taints=[]), node(taints=[TAINT])),
            'node "node-0" is not allowed to modify taints', id="drops a taint",
        ),
        pytest.param(
            by_node(node(labels={"x.node-restriction.kubernetes.io/a": "b"}), node()),
            "is not allowed to modify labels: x.node-restriction.kubernetes.io/a",
            id="sets a restricted label",
        ),
        pytest.param(
            by_node(node(), node(labels={"foo.k8s.io/x": "y"})),
            "is not allowed to modify labels: foo.k8s.io/x", id="drops a label of Kubernetes",
        ),
        pytest.param(by_node(pod(), pod(), "status"), None, id="its Pod's status"),
        pytest.param(
            by_node(pod(node="node-1"), pod(node="node-1"), "status"),
            'node "node-0" can only update pod status for pods with spec.nodeName set to itself',
            id="the status of a Pod elsewhere",
        ),
        pytest.param(
            by_node(pod(labels={"a": "b"}), pod(), "status"),
            'node "node-0" cannot update labels through pod status', id="labels by status",
        ),
        pytest.param(by_node(None, pod()), None, id="deletes its Pod"),
        pytest.param(
            by_node(None, pod("other", "node-1")),
            'node "node-0" can only delete pods with spec.nodeName set to itself',
            id="deletes a Pod elsewhere",
        ),
        pytest.param(
            by_node(pod(), pod()),
            'unexpected operation "UPDATE", node "node-0" can only create and delete mirror pods',
            id="changes a Pod",
        ),
        pytest.param(
            by_node(pod()),
            f'pod does not have "{MIRROR_POD}" annotation, node "node-0" can only create mirror '
            "pods",
            id="creates a Pod",
        ),
        pytest.param(by_node(mirror()), None, id="creates a mirror Pod"),
        pytest.param(
            by_node(mirror(ownerReferences=[])),
            'node "node-0" can only create pods with an owner reference set to itself',
            id="a mirror Pod of nobody",
        ),
        pytest.param(
            by_node(pod(), subresource="binding"),
            "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed",
            id="binds a Pod",
        ),
        pytest.param(
            by_node(mirror(ownerReferences=[owner(), owner()])),
            'node "node-0" can only create pods with a single owner reference set to itself',
            id="a mirror Pod of two",
        ),
        pytest.param(
            by_node(mirror(ownerReferences=[owner(controller=False)])),
            'node "node-0" can only create pods with a controller owner reference set to itself',
            id="a mirror Pod that is not controlled",
        ),
        pytest.param(
            by_node(mirror(ownerReferences=[owner(blockOwnerDeletion=True)])),
            'node "node-0" must not set blockOwnerDeletion on an owner reference',
            id="a mirror Pod that holds up its node",
        ),
        pytest.param(
            by_node(mirror(ownerReferences=[owner(uid="x")])),
            "node node-0 UID mismatch: expected x got node-0-uid",
            id="a mirror Pod of a node of before",
        ),
        pytest.param(
            by_node(mirror_with(secret={"secretName": "s"})),
            'node "node-0" can not create pods that reference secrets',
            id="a mirror Pod that would let it read a Secret",
        ),
        pytest.param(
            by_node(mirror_with(projected={"sources": [{"clusterTrustBundle": {"path": "p"}}]})),
            'node "node-0" can not create pods that reference clustertrustbundles',
            id="a mirror Pod with a trust bundle",
        ),
        pytest.param(
            by_node(
                {**pod(), "status": {"resourceClaimStatuses": [{"name": "a"}]}}, pod(), "status"
            ),
            'node "node-0" cannot update resource claim statues',
            id="claims by status",
        ),
        pytest.param(
            by_node(claim(status={"capacity": {"storage": "2Gi"}}), claim(), "status"), None,
            id="a claim that has grown",
        ),
        pytest.param(
            by_node(claim(status={"phase": "Lost"}), claim(), "status"),
            'node "node-0" is not allowed to update fields other than status.capacity and '
            "status.conditions",
            id="the phase of a claim",
        ),
        pytest.param(
            by_node(local_volume("other"), local_volume(OURS, "other")), None,
            id="that the directory of a volume is gone",
        ),
        pytest.param(
            by_node(local_volume(), local_volume(OURS, "other")),
            f'node "node-0" is not allowed to change more than the finalizer {OURS}',
            id="another finalizer of a volume",
        ),
        pytest.param(
            by_node(local_volume(capacity={"storage": "1Gi"}), local_volume(OURS)),
            f'node "node-0" is not allowed to change more than the finalizer {OURS}',
            id="more of a volume",
        ),
        pytest.param(
            by_node(local_volume(node="node-0"), local_volume(OURS, node="node-1")),
            'node "node-0" can only update local volumes of its own',
            id="another's volume",
        ),
        pytest.param(
            by_node(local_volume()), 'unexpected operation "CREATE"', id="a volume of its own",
        ),
        pytest.param(by_node(csi_node("node-0")), None, id="its CSINode"),
        pytest.param(
            by_node(csi_node("node-1"), csi_node("node-1")),
            "can only access CSINode with the same name as the requesting node",
            id="another's CSINode",
        ),
        pytest.param(by_node(slice_of("node-0")), None, id="its devices"),
        pytest.param(
            by_node(slice_of("node-1")),
            "can only create ResourceSlice with the same NodeName as the requesting node",
            id="another's devices",
        ),
        pytest.param(
            by_node(None, slice_of("")),
            "can only delete ResourceSlice with the same NodeName as the requesting node",
            id="ends nobody's devices",
        ),
        pytest.param(by_node(signing("system:node:node-0")), None, id="its certificate"),
        pytest.param(
            by_node(signing("system:node:node-1")),
            "can only create a node CSR with CN=system:node:node-0",
            id="another's certificate",
        ),
        pytest.param(
            by_node(signing("ann", "acme.io/x")), None, id="a certificate of another signer"
        ),
        pytest.param(by_node(lease("node-0")), None, id="its Lease"),
        pytest.param(
            by_node(lease("node-1"), lease("node-1")),
            "can only access node lease with the same name as the requesting node",
            id="another's Lease",
        ),
        pytest.param(
            by_node(lease("node-0", "kube-system")),
            'can only access leases in the "kube-node-lease" system namespace',
            id="a Lease elsewhere",
        ),
        pytest.param(token(), None, id="a token for its Pod"),
        pytest.param(
            token(name=""), "node requested token not bound to a pod", id="an unbound token"
        ),
        pytest.param(
            token(uid=""), "node requested token with a pod binding without a uid", id="no uid"
        ),
        pytest.param(
            token(uid="x"),
            "the UID in the bound object reference (x) does not match the UID in record. "
            "The object might have been deleted and then recreated",
            id="another uid",
        ),
        pytest.param(
            token(name="other", uid="other-uid"),
            "node requested token bound to a pod scheduled on a different node",
            id="a token for a Pod elsewhere",
        ),
        pytest.param(
            request(node(), user=user("ada", "system:nodes")),
            'could not determine node from user "ada"', id="in the group, but no node",
        ),
    ],
)  # fmt: skip
async def test_a_node_writes_its_own(asked: AdmissionRequest, why: str | None) -> None:
    plugin = NodeRestriction(MemoryCluster(node(), pod(), pod("other", "node-1")))
    assert plugin.handles(asked)
    refusal: ApiError | None = None
    try:
        await plugin.mutate(asked)
    except ForbiddenError as error:
        refusal = error
    assert (refusal.message.partition(" is forbidden: ")[2] if refusal else None) == why


def test_others_are_not_asked() -> None:
    assert not NodeRestriction(MemoryCluster()).handles(request(node(), user=MASTER))
