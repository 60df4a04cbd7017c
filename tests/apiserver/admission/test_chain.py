"""The built-in chain on whole requests."""

import re
from typing import Any

import pytest

from apiserver.admission import Plugin, build_chain
from apiserver.authz import Authorizer
from tests.apiserver.admission.requests import context, request
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import cluster_scoped, namespaced

SHOP = cluster_scoped("Namespace", "shop", status={"phase": "Active"})
DEFAULT_ACCOUNT = namespaced("ServiceAccount", "default")


def test_plugins_stand_in_upstreams_order_and_hooks_before_the_quota() -> None:
    class Hook(Plugin):
        name = "ours"

    cluster = MemoryCluster()
    assert build_chain(context(cluster), Authorizer(cluster), [Hook()]).names == [
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "NodeRestriction",
        "PodSecurity",
        "Priority",
        "DefaultTolerationSeconds",
        "DefaultStorageClass",
        "StorageObjectInUseProtection",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "DefaultIngressClass",
        "PodTopologyLabels",
        "RbacEscalation",
        "CertificateApproval",
        "CertificateSigning",
        "CertificateSubjectRestriction",
        "ours",
        "MutatingAdmissionPolicy",
        "ValidatingAdmissionPolicy",
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


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"disabled": ["Ghost"]}, "--disable-admission-plugins: no plugin 'Ghost'"),
        ({"disabled": ["RbacEscalation"]}, "no plugin 'RbacEscalation'"),
        ({"enabled": ["AlwaysPullImages"]}, "AlwaysPullImages is not offered here"),
    ],
)
def test_plugins_that_cannot_be_switched_are_named(flags: dict[str, Any], message: str) -> None:
    cluster = MemoryCluster()
    with pytest.raises(ValueError, match=re.escape(message)):
        build_chain(context(cluster), Authorizer(cluster), **flags)


def test_plugin_of_upstream_can_be_switched_off() -> None:
    cluster = MemoryCluster()
    chain = build_chain(
        context(cluster), Authorizer(cluster), disabled=["ServiceAccount"], enabled=["Priority"]
    )
    assert "ServiceAccount" not in chain.names
