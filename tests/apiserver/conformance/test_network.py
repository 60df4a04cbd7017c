"""Services, and who may do what, as far as the API server alone is concerned."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.conditions import is_true
from kubraft.api.object import Object
from tests.apiserver.conformance.cluster import Cluster, eventually
from tests.apiserver.conformance.held import conforms
from tests.apiserver.registry.kind_cases import LABELS, POD_SPEC, thing

pytestmark = pytest.mark.asyncio(loop_scope="session")

OF = "[sig-network] Services should "


def _service(name: str = "web", **spec: Any) -> Object:
    spec = {"ports": [{"port": 80}], "selector": LABELS, **spec}
    return thing("v1", "Service", name, spec=spec)


@conforms(f"{OF}complete a service status lifecycle")
async def test_the_status_of_a_service_is_written_by_itself(cluster: Cluster) -> None:
    path = f"{await cluster.namespace()}/services"
    await cluster.create(path, _service(type="LoadBalancer"))
    read = await cluster.get(f"{path}/web/status")
    assert read["status"] == {"loadBalancer": {}}
    ingress = [{"ip": "203.0.113.1"}]
    patch = {
        "metadata": {"annotations": {"patchedstatus": "true"}},
        "status": {"loadBalancer": {"ingress": ingress}},
    }
    patched = await cluster.patch(f"{path}/web/status", patch)
    assert patched["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.1"
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set"}
    condition["lastTransitionTime"] = "2026-01-02T03:04:05Z"
    patched["status"]["conditions"] = [condition]
    updated = await cluster.update(f"{path}/web/status", patched)
    assert updated["status"]["conditions"] == [condition]
    patched = await cluster.patch(f"{path}/web", {"metadata": {"labels": {"a": "b"}}})
    assert patched["metadata"]["labels"]["a"] == "b"
    assert patched["status"] == updated["status"]


async def test_a_service_changes_its_type(cluster: Cluster) -> None:
    """What "be able to change the type" needs of the API server; the rest is traffic."""
    path = f"{await cluster.namespace()}/services"
    outside = {"type": "ExternalName", "externalName": "foo.example.com"}
    made = await cluster.create(path, _service(type="NodePort"))
    assert made["spec"]["clusterIP"]
    port = made["spec"]["ports"][0]["nodePort"]
    made["spec"] |= outside
    made = await cluster.update(f"{path}/web", made)
    assert "clusterIP" not in made["spec"]
    assert "nodePort" not in made["spec"]["ports"][0]
    # What it had is free again.
    other = _service("other", type="NodePort")
    other["spec"]["ports"][0]["nodePort"] = port
    await cluster.create(path, other)
    made["spec"].pop("externalName")
    made["spec"] |= {"type": "ClusterIP"}
    made = await cluster.update(f"{path}/web", made)
    assert made["spec"]["clusterIP"] == made["spec"]["clusterIPs"][0]
    made["spec"] |= {"type": "NodePort"}
    assert (await cluster.update(f"{path}/web", made))["spec"]["ports"][0]["nodePort"]


async def test_an_address_says_whose_it_is(cluster: Cluster) -> None:
    """With the Service, and without a controller that would repair it."""
    namespace = await cluster.namespace()
    addresses = "/apis/networking.k8s.io/v1/ipaddresses"
    made = await cluster.create(f"{namespace}/services", _service())
    address = made["spec"]["clusterIP"]
    found = await cluster.get(f"{addresses}/{address}")
    ref = {"group": "", "resource": "services", "name": "web"}
    assert found["spec"]["parentRef"] == {**ref, "namespace": namespace.rpartition("/")[2]}
    assert found["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"] == "IPv4"
    chosen = f"{addresses}?labelSelector=ipaddress.kubernetes.io/managed-by"
    assert address in [o["metadata"]["name"] for o in await cluster.items(chosen)]
    # Deleting it by hand does not give the address to another.
    await cluster.delete(f"{addresses}/{address}")
    again = _service("again", clusterIP=address)
    message = await cluster.refused(422, "POST", f"{namespace}/services", again)
    assert message.endswith("provided IP is already allocated")
    await cluster.delete(f"{namespace}/services/web")
    await cluster.create(f"{namespace}/services", again)
    await cluster.get(f"{addresses}/{address}")
    await cluster.patch(
        f"{namespace}/services/again", {"spec": {"type": "ExternalName", "externalName": "a.b"}}
    )
    await cluster.gone(f"{addresses}/{address}")
    # An address that somebody keeps for something else is not given away.
    kept = thing("networking.k8s.io/v1", "IPAddress", "10.96.200.200")
    kept["spec"] = {"parentRef": {**ref, "namespace": "default", "name": "mine"}}
    await cluster.create(addresses, kept)
    await cluster.refused(
        422, "POST", f"{namespace}/services", _service("kept", clusterIP="10.96.200.200")
    )


@conforms(
    f"{OF}find a service from listing all namespaces",
    "[sig-network] API Server should provide secure master service",
    "[sig-network] API Server should have Endpoints and EndpointSlices pointing to API Server",
)
async def test_the_api_server_is_found_in_the_cluster(cluster: Cluster) -> None:
    async def found() -> bool:
        answer = await cluster.ask("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
        return answer.status == 200

    await eventually(found)
    listed = [o["metadata"] for o in await cluster.items("/api/v1/services")]
    assert ("default", "kubernetes") in {(each["namespace"], each["name"]) for each in listed}
    service = await cluster.get("/api/v1/namespaces/default/services/kubernetes")
    port = cluster.served.port
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    assert service["spec"]["ports"] == [
        {"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}
    ]
    endpoints = await cluster.get("/api/v1/namespaces/default/endpoints/kubernetes")
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    assert endpoints["subsets"] == [{"addresses": [{"ip": "127.0.0.1"}], "ports": ports}]
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    listed = await cluster.items(f"{slices}?labelSelector=kubernetes.io/service-name%3Dkubernetes")
    assert [(o["addressType"], o["ports"]) for o in listed] == [("IPv4", ports)]
    assert listed[0]["endpoints"] == [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}]


async def test_the_range_of_services_is_ready(cluster: Cluster) -> None:
    async def ready() -> Any:
        path = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes"
        answer = await cluster.ask("GET", path)
        made = answer.json() if answer.status == 200 else {"status": {}}
        return is_true(made, "Ready") and made

    assert (await eventually(ready))["spec"] == {"cidrs": ["10.96.0.0/16"]}


AUTH = "[sig-auth] ServiceAccounts should "


@conforms(f"{AUTH}allow opting out of API token automount")
@pytest.mark.parametrize(
    ("account", "pod", "mounted"),
    [
        (None, None, True),
        (None, True, True),
        (None, False, False),
        (True, None, True),
        (True, True, True),
        (True, False, False),
        (False, None, False),
        (False, True, True),
        (False, False, False),
    ],
)
async def test_tokens_are_mounted_where_wanted(
    cluster: Cluster, account: bool | None, pod: bool | None, mounted: bool
) -> None:
    namespace = await cluster.namespace()
    robot = thing("v1", "ServiceAccount", "robot", automountServiceAccountToken=account)
    await cluster.create(f"{namespace}/serviceaccounts", robot)
    spec = {**POD_SPEC, "serviceAccountName": "robot", "automountServiceAccountToken": pod}
    made = await cluster.create(f"{namespace}/pods", thing("v1", "Pod", "p", spec=spec))
    paths = [m["mountPath"] for m in made["spec"]["containers"][0].get("volumeMounts") or ()]
    assert ("/var/run/secrets/kubernetes.io/serviceaccount" in paths) is mounted


@conforms(f"{AUTH}create a serviceAccountToken and ensure a successful TokenReview")
async def test_a_token_that_was_asked_for_is_good(cluster: Cluster) -> None:
    namespace = await cluster.namespace()
    spec = {"expirationSeconds": 3600}
    request = thing("authentication.k8s.io/v1", "TokenRequest", "default", spec=spec)
    made = await cluster.create(f"{namespace}/serviceaccounts/default/token", request)
    review = thing("authentication.k8s.io/v1", "TokenReview")
    review["spec"] = {"token": made["status"]["token"]}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    status = (await cluster.create(path, review))["status"]
    assert status["authenticated"] is True
    name = namespace.rpartition("/")[2]
    assert status["user"]["username"] == f"system:serviceaccount:{name}:default"


@conforms("[sig-auth] SubjectReview should support SubjectReview API operations")
async def test_reviews_say_what_an_account_may(cluster: Cluster) -> None:
    namespace = await cluster.namespace()
    name = namespace.rpartition("/")[2]
    user = f"system:serviceaccount:{name}:default"
    wanted = {"verb": "list", "resource": "configmaps", "namespace": name, "version": "v1"}
    spec = {"user": user, "resourceAttributes": wanted}
    root = "/apis/authorization.k8s.io/v1"
    acting = await cluster.ask("GET", f"{namespace}/configmaps", impersonate_user=user)
    for path, kind in (
        (f"{root}/subjectaccessreviews", "SubjectAccessReview"),
        (f"{root}/namespaces/{name}/localsubjectaccessreviews", "LocalSubjectAccessReview"),
    ):
        review = thing("authorization.k8s.io/v1", kind, spec=spec)
        review["metadata"] = {"namespace": name} if kind.startswith("Local") else {}
        made = await cluster.create(path, review)
        assert made["status"]["allowed"] is (acting.status == 200) is False
