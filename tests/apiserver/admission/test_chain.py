"""The built-in chain on whole requests."""

import copy
from typing import Any

import pytest

from apiserver.admission import AdmissionContext, AdmissionRequest, Operation, Plugin, build_chain
from apiserver.authz import Authorizer
from apiserver.user import User
from kubraft.api.gvk import GroupVersionKind, gvk_of
from kubraft.api.object import Object
from kubraft.api.time import ManualClock
from tests.apiserver.memory import MemoryCluster, MemoryWriter
from tests.apiserver.objects import MASTER, cluster_scoped, namespaced

SHOP = cluster_scoped("Namespace", "shop", status={"phase": "Active"})
DEFAULT_ACCOUNT = namespaced("ServiceAccount", "default")


def plural(gvk: GroupVersionKind) -> str:
    return f"{gvk.kind.lower()}s"


def request(
    obj: Object | None,
    *,
    old: Object | None = None,
    operation: Operation | None = None,
    user: User = MASTER,
    **fields: Any,
) -> AdmissionRequest:
    subject = obj or old
    assert subject is not None
    if operation is None:
        operation = Operation.UPDATE if old else Operation.CREATE
    gvk = gvk_of(subject)
    metadata = subject["metadata"]
    values: dict[str, Any] = {
        "resource": plural(gvk),
        "namespace": metadata.get("namespace", ""),
        "name": metadata.get("name", ""),
        **fields,
    }
    return AdmissionRequest(
        operation, user, gvk, obj=copy.deepcopy(obj), old=copy.deepcopy(old), **values
    )


def context(cluster: MemoryCluster) -> AdmissionContext:
    from random import Random

    return AdmissionContext(cluster, MemoryWriter(cluster), ManualClock(), Random(1))


def test_plugins_stand_in_upstreams_order_and_hooks_before_the_quota() -> None:
    class Hook(Plugin):
        name = "ours"

    cluster = MemoryCluster()
    assert build_chain(context(cluster), Authorizer(cluster), [Hook()]).names == [
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "NodeRestriction",
        "Priority",
        "DefaultTolerationSeconds",
        "RbacEscalation",
        "ours",
        "ResourceQuota",
    ]


async def test_a_bare_pod_comes_out_complete() -> None:
    cluster = MemoryCluster(SHOP, DEFAULT_ACCOUNT)
    chain = build_chain(context(cluster), Authorizer(cluster), toleration_s=20)
    pod = request(namespaced("Pod", "web", spec={"containers": [{"name": "c", "image": "i"}]}))
    await chain.mutate(pod)
    await chain.validate(pod)
    assert pod.obj is not None
    spec = pod.obj["spec"]
    (volume,) = spec.pop("volumes")
    assert volume["name"].startswith("kube-api-access-")
    assert spec == {
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "containers": [
            {
                "name": "c",
                "image": "i",
                "volumeMounts": [
                    {
                        "name": volume["name"],
                        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                        "readOnly": True,
                    }
                ],
            }
        ],
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{taint}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 20,
            }
            for taint in ("not-ready", "unreachable")
        ],
    }


@pytest.mark.parametrize("field", ["spec", "nothing"])
async def test_what_is_no_pod_at_all_is_left_to_validation(field: str) -> None:
    cluster = MemoryCluster(SHOP, DEFAULT_ACCOUNT)
    chain = build_chain(context(cluster), Authorizer(cluster))
    pod = request(namespaced("Pod", "web", **({"spec": "text"} if field == "spec" else {})))
    await chain.mutate(pod)
