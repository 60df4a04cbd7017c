"""The control loops against the real API server on a real etcd."""

from __future__ import annotations

import base64

import pytest

from kubraft.api.conditions import find_condition
from kubraft.api.gvk import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    POD,
    REPLICA_SET,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE_ACCOUNT,
)
from kubraft.api.object import Object, uid_of
from tests.agents.controllers.cluster import Cluster
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


async def test_a_deployment_becomes_pods(cluster: Cluster) -> None:
    await cluster.deploy(replicas=3)
    await eventually(lambda: cluster.is_done(3))
    (replica_set,) = cluster.of(REPLICA_SET)
    name = replica_set["metadata"]["name"]
    progressing = find_condition(cluster.status()["conditions"], "Progressing") or {}
    assert progressing["reason"] == "NewReplicaSetAvailable"
    assert progressing["message"] == f'ReplicaSet "{name}" has successfully progressed.'
    await cluster.eventually_said("ScalingReplicaSet", f"Scaled up replica set {name} from 0 to 3")
    pod = cluster.alive()[0]
    await cluster.eventually_said("SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
    assert pod["metadata"]["generateName"] == f"{name}-"


async def test_a_roll_out_and_its_roll_back(cluster: Cluster) -> None:
    await cluster.deploy(replicas=4)
    await eventually(lambda: cluster.is_done(4))
    fewest = 4

    def watch_ready(_old: Object | None, _new: Object | None) -> None:
        nonlocal fewest
        fewest = min(fewest, len(cluster.images()))

    cluster.informers[POD].add_handler(watch_ready)
    await cluster.set_image("web:2")
    await eventually(lambda: cluster.is_done(4) and cluster.images() == ["web:2"] * 4)
    revision = "deployment.kubernetes.io/revision"
    found = cluster.get(DEPLOYMENT, "web")
    assert found is not None
    assert found["metadata"]["annotations"][revision] == "2"
    await cluster.set_image("web:1")
    await eventually(lambda: cluster.is_done(4) and cluster.images() == ["web:1"] * 4)
    numbers = sorted(rs["metadata"]["annotations"][revision] for rs in cluster.of(REPLICA_SET))
    assert numbers == ["2", "3"]
    assert fewest >= 3  # 25 % of 4 may be missing


async def test_a_broken_image_leaves_the_old_pods_and_tells_of_the_deadline(
    cluster: Cluster,
) -> None:
    await cluster.deploy(replicas=2, progressDeadlineSeconds=1)
    await eventually(lambda: cluster.is_done(2))
    await cluster.set_image("broken:2")
    await eventually(lambda: _reason(cluster) == "ProgressDeadlineExceeded")
    assert cluster.images() == ["web:1"] * 2
    await cluster.set_image("web:1")
    await eventually(lambda: cluster.is_done(2) and len(cluster.alive()) == 2)


def _reason(cluster: Cluster) -> str:
    found = find_condition(cluster.status().get("conditions"), "Progressing") or {}
    return str(found.get("reason"))


async def test_scale_recreate_and_delete(cluster: Cluster) -> None:
    await cluster.deploy(replicas=1, strategy={"type": "Recreate"})
    await cluster.patch_spec({"replicas": 3})
    await eventually(lambda: cluster.is_done(3))
    await cluster.set_image("web:2")
    await eventually(lambda: cluster.is_done(3) and cluster.images() == ["web:2"] * 3)
    await cluster.client.delete(DEPLOYMENT, "web", cluster.namespace)
    await eventually(lambda: not cluster.of(REPLICA_SET) and not cluster.of(POD))


async def test_a_lost_pod_is_replaced_and_a_relabelled_one_released(cluster: Cluster) -> None:
    await cluster.deploy(replicas=2)
    await eventually(lambda: cluster.is_done(2))
    first, second = cluster.alive()
    await cluster.client.delete(POD, first["metadata"]["name"], cluster.namespace)
    merge = {"metadata": {"labels": {"app": "debug"}}}
    await cluster.client.patch(POD, second["metadata"]["name"], merge, cluster.namespace)
    await eventually(lambda: cluster.is_done(2) and len(cluster.alive()) == 3)
    freed = cluster.get(POD, second["metadata"]["name"])
    assert freed is not None
    assert "ownerReferences" not in freed["metadata"]


@pytest.mark.parametrize("propagation", ["Foreground", "Orphan"])
async def test_propagated_deletion(cluster: Cluster, propagation: str) -> None:
    await cluster.deploy(replicas=2)
    await eventually(lambda: cluster.is_done(2))
    await cluster.client.delete(DEPLOYMENT, "web", cluster.namespace, propagation=propagation)
    await eventually(lambda: cluster.get(DEPLOYMENT, "web") is None)
    if propagation == "Foreground":
        # What blocked the owner is gone by now; Pods end after their ReplicaSet began to wait.
        await eventually(lambda: not cluster.of(REPLICA_SET) and not cluster.of(POD))
    else:
        (left,) = cluster.of(REPLICA_SET)
        await eventually(lambda: "ownerReferences" not in cluster.of(REPLICA_SET)[0]["metadata"])
        assert len(cluster.alive()) == 2
        await cluster.client.delete(REPLICA_SET, left["metadata"]["name"], cluster.namespace)


async def test_every_namespace_has_its_account_and_the_ca(cluster: Cluster) -> None:
    await eventually(lambda: cluster.get(SERVICE_ACCOUNT, "default"))
    await eventually(lambda: cluster.get(CONFIG_MAP, "kube-root-ca.crt"))
    await cluster.client.delete(SERVICE_ACCOUNT, "default", cluster.namespace)
    await cluster.client.patch(
        CONFIG_MAP, "kube-root-ca.crt", {"data": {"ca.crt": "forged"}}, cluster.namespace
    )
    await eventually(lambda: cluster.get(SERVICE_ACCOUNT, "default"))
    await eventually(
        lambda: (cluster.get(CONFIG_MAP, "kube-root-ca.crt") or {})["data"]["ca.crt"] != "forged"
    )


async def test_a_namespace_goes_with_all_that_is_in_it(cluster: Cluster) -> None:
    await cluster.deploy(replicas=2)
    await eventually(lambda: cluster.is_done(2))
    await cluster.client.delete(NAMESPACE, cluster.namespace)
    await eventually(lambda: cluster.get(NAMESPACE, cluster.namespace, "") is None, timeout_s=20)
    for gvk in (DEPLOYMENT, REPLICA_SET, POD, SERVICE_ACCOUNT, CONFIG_MAP):
        assert cluster.of(gvk) == []


async def test_a_quota_is_told_what_became_free(cluster: Cluster) -> None:
    await cluster.client.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "bound", "namespace": cluster.namespace},
            "spec": {"hard": {"pods": "2", "count/deployments.apps": "5"}},
        }
    )

    def used() -> dict[str, str]:
        found = (cluster.get(RESOURCE_QUOTA, "bound") or {}).get("status") or {}
        return found.get("used") or {}

    await eventually(lambda: used() == {"pods": "0", "count/deployments.apps": "0"})
    await cluster.deploy(replicas=3)
    await eventually(lambda: used().get("pods") == "2")
    await eventually(
        lambda: find_condition(cluster.status().get("conditions"), "ReplicaFailure") is not None
    )
    assert len(cluster.alive()) == 2
    await cluster.patch_spec({"replicas": 1})
    await eventually(lambda: cluster.is_done(1) and used().get("pods") == "1", timeout_s=20)
    await eventually(
        lambda: find_condition(cluster.status().get("conditions"), "ReplicaFailure") is None
    )


async def test_bootstrap_tokens_go_when_they_have_expired(cluster: Cluster) -> None:
    for name, expiration in (
        ("aaaaaa", "2020-01-01T00:00:00Z"),
        ("bbbbbb", "2120-01-01T00:00:00Z"),
    ):
        await cluster.client.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"namespace": "kube-system", "name": f"bootstrap-token-{name}"},
                "type": "bootstrap.kubernetes.io/token",
                "stringData": {
                    "token-id": name,
                    "token-secret": "0123456789abcdef",
                    "expiration": expiration,
                },
            }
        )

    name = "bootstrap-token-bbbbbb"
    kept = await cluster.client.get(SECRET, name, "kube-system")

    def gone() -> bool:
        return cluster.get(SECRET, "bootstrap-token-aaaaaa", "kube-system") is None

    await eventually(lambda: cluster.get(SECRET, name, "kube-system") == kept and gone())
    await cluster.client.delete(SECRET, name, "kube-system", uid=uid_of(kept))


async def test_a_secret_that_asks_for_a_token_gets_one_for_as_long_as_its_account_lives(
    cluster: Cluster,
) -> None:
    namespace, named = cluster.namespace, {"namespace": cluster.namespace, "name": "robot"}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named}
    made = await cluster.client.create(account)
    annotations = {"kubernetes.io/service-account.name": "robot"}
    await cluster.client.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**named, "annotations": annotations},
            "type": "kubernetes.io/service-account-token",
        }
    )

    def data() -> dict[str, str]:
        secret = cluster.get(SECRET, "robot") or {}
        found: dict[str, str] = secret.get("data") or {}
        return found

    await eventually(lambda: data().keys() == {"token", "ca.crt", "namespace"})
    secret = cluster.get(SECRET, "robot")
    assert secret is not None
    uid = secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"]
    assert uid == made["metadata"]["uid"]
    assert base64.b64decode(data()["namespace"]).decode() == namespace
    token = base64.b64decode(data()["token"]).decode()

    async def review() -> Object:
        review = {"metadata": {}, "spec": {"token": token}}
        kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        answer: Object = (await cluster.client.create({**kind, **review}))["status"]
        return answer

    status = await review()
    assert status["authenticated"] is True
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:robot"
    await cluster.client.delete(SERVICE_ACCOUNT, "robot", namespace)
    await eventually(lambda: cluster.get(SECRET, "robot") is None)
    assert "authenticated" not in await review()
