"""Discovery and OpenAPI: what clients read before they ask for anything."""

from __future__ import annotations

import pytest

from apiserver.registry.resources import Resources
from tests.apiserver.rest.conftest import Rest

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_discovery_old_and_aggregated_say_the_same(rest: Rest) -> None:
    old = {}
    groups = (await rest.ask("GET", "/apis")).json()["groups"]
    versions = [version for group in groups for version in group["versions"]]
    places = ["/api/v1", *(f"/apis/{version['groupVersion']}" for version in versions)]
    for place in places:
        listed = (await rest.ask("GET", place)).json()
        group, _, version = listed["groupVersion"].rpartition("/")
        for each in listed["resources"]:
            old[group, version, each["name"]] = (each["kind"], tuple(each["verbs"]))
    new = {}
    for path in ("/api", "/apis"):
        answer = await rest.ask("GET", path, accept=f"{AGGREGATED},application/json")
        assert answer.headers["content-type"] == AGGREGATED
        for item in answer.json()["items"]:
            group = item["metadata"].get("name", "")
            for version in item["versions"]:
                for each in version["resources"]:
                    key = (group, version["version"], each["resource"])
                    new[key] = (each["responseKind"]["kind"], tuple(each["verbs"]))
                    for sub in each.get("subresources", ()):
                        name = f"{each['resource']}/{sub['subresource']}"
                        new[*key[:2], name] = (sub["responseKind"]["kind"], tuple(sub["verbs"]))
    assert old == new
    # The newest version of a group is its preferred one.
    assert {"autoscaling/v2", "apps/v1"} <= {g["preferredVersion"]["groupVersion"] for g in groups}
    assert {("apps", "v1", "deployments/scale"), ("", "v1", "pods/log")} <= new.keys()
    assert {(r.gvk.group, r.gvk.version, r.plural) for r in Resources()} <= new.keys()


async def test_documents_that_did_not_change_are_not_sent_again(rest: Rest) -> None:
    for path in ("/apis", "/openapi/v3"):
        first = await rest.ask("GET", path)
        again = await rest.ask("GET", path, if_none_match=first.headers["etag"])
        assert (again.status, again.body) == (304, b"")


async def test_openapi_v3_describes_every_group_and_version(rest: Rest) -> None:
    index = (await rest.ask("GET", "/openapi/v3")).json()["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/rbac.authorization.k8s.io/v1"} <= index.keys()
    place = index["apis/apps/v1"]["serverRelativeURL"]
    answer = await rest.ask("GET", place)
    assert answer.headers["cache-control"] == "public, immutable"
    document = answer.json()
    path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    patch = document["paths"][path]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps", "version": "v1", "kind": "Deployment",
    }  # fmt: skip
    assert "fieldValidation" in {each["name"] for each in patch["parameters"]}
    schemas = document["components"]["schemas"]
    spec = schemas["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]
    old = await rest.ask("GET", place.partition("?")[0] + "?hash=OLD")
    assert (old.status, old.headers["location"]) == (301, place)


@pytest.mark.parametrize("path", ["/openapi/v2", "/openapi/v3/api/v1"])
async def test_every_reference_of_a_document_leads_somewhere(rest: Rest, path: str) -> None:
    document = (await rest.ask("GET", path)).json()
    found = document.get("definitions") or document["components"]["schemas"]
    todo = [document["paths"], found]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            if isinstance(ref := value.get("$ref"), str):
                assert ref.rpartition("/")[2] in found
            todo += value.values()
        elif isinstance(value, list):
            todo += value


async def test_operations_have_names_of_their_own(rest: Rest) -> None:
    paths = (await rest.ask("GET", "/openapi/v2")).json()["paths"]
    names = [
        operation["operationId"]
        for item in paths.values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names))


async def test_reviews_say_who_one_is_and_what_one_may(rest: Rest) -> None:
    place = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    who = await rest.ask("POST", place, {}, authorization="Bearer any")
    assert (who.status, who.json()["status"]["userInfo"]["username"]) == (201, "admin")
    place = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    spec = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}
    assert (await rest.ask("POST", place, {"spec": spec})).json()["status"] == {"allowed": True}
    assert (await rest.ask("POST", place, {"spec": {}})).status == 422
    assert (await rest.ask("GET", place)).status == 405
