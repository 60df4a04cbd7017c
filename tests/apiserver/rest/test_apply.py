"""Server-side apply and managedFields over HTTPS, as kubectl and controllers use them."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api import gvk
from tests.apiserver.harness import deployment, pod
from tests.apiserver.rest.conftest import Answer, Rest

CMS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
CONTAINER = {"name": "c", "env": [{"name": "A", "value": "1"}]}
HEAD = b'{"apiVersion":"v1","kind":"ConfigMap",'
NOW = "2026-01-02T03:04:05Z"


def config(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def managers(obj: Any) -> list[tuple[str, str, Any]]:
    entries = obj["metadata"].get("managedFields", [])
    return [(e["manager"], e["operation"], e["fieldsV1"]) for e in entries]


async def apply(rest: Rest, body: Any, manager: str = "one", query: str = "") -> Answer:
    return await rest.ask("PATCH", f"{CMS}/c?fieldManager={manager}{query}", body, kind=APPLY)


async def test_an_apply_creates_then_changes_and_takes_back(rest: Rest) -> None:
    made = await apply(rest, config(a="1", b="2"))
    assert made.status == 201
    assert made.json()["metadata"]["managedFields"] == [
        {
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": NOW,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}, "f:b": {}}},
        }
    ]
    again = await apply(rest, config(a="1", b="2"))
    assert (again.status, again.json()) == (200, made.json())
    less = (await apply(rest, config(a="3"))).json()
    assert less["data"] == {"a": "3"}
    assert managers(less) == [("one", "Apply", {"f:data": {"f:a": {}}})]
    assert less["metadata"]["uid"] == made.json()["metadata"]["uid"]


async def test_a_conflict_is_told_in_upstreams_words_and_force_takes(rest: Rest) -> None:
    await apply(rest, config(a="1", b="1"))
    edit = {"data": {"b": "2"}}
    await rest.ask("PATCH", f"{CMS}/c?fieldManager=editor", edit, kind=MERGE)
    refused = await apply(rest, config(a="2", b="3"), "two")
    assert refused.status == 409
    assert refused.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": (
            "Apply failed with 2 conflicts: "
            'conflicts with "editor" using v1:\n- .data.b\nconflicts with "one":\n- .data.a'
        ),
        "reason": "Conflict",
        "details": {
            "causes": [
                {
                    "reason": "FieldManagerConflict",
                    "message": 'conflict with "editor" using v1',
                    "field": ".data.b",
                },
                {
                    "reason": "FieldManagerConflict",
                    "message": 'conflict with "one"',
                    "field": ".data.a",
                },
            ]
        },
        "code": 409,
    }
    assert (await rest.ask("GET", f"{CMS}/c")).json()["data"] == {"a": "1", "b": "2"}
    forced = await apply(rest, config(a="2", b="3"), "two", "&force=true")
    assert forced.json()["data"] == {"a": "2", "b": "3"}
    assert managers(forced.json()) == [("two", "Apply", {"f:data": {"f:a": {}, "f:b": {}}})]


async def test_a_configuration_may_be_yaml(rest: Rest) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  when: '2026-01-02'\n"
    made = await apply(rest, text)
    assert (made.status, made.json()["data"]) == (201, {"when": "2026-01-02"})


async def test_a_dry_run_tells_what_would_be(rest: Rest) -> None:
    made = await apply(rest, config(a="1"), query="&dryRun=All")
    assert (made.status, made.json()["data"]) == (201, {"a": "1"})
    assert (await rest.ask("GET", f"{CMS}/c")).status == 404
    await apply(rest, config(a="1"))
    assert (await apply(rest, config(a="2"), query="&dryRun=All")).json()["data"] == {"a": "2"}
    assert (await rest.ask("GET", f"{CMS}/c")).json()["data"] == {"a": "1"}


@pytest.mark.parametrize(
    ("query", "body", "status", "message"),
    [
        pytest.param(
            "",
            config(a="1"),
            422,
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required '
            "for apply patch",
            id="no manager",
        ),
        pytest.param(
            "fieldManager=" + "x" * 129,
            config(a="1"),
            422,
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than '
            "128 bytes",
            id="a long manager",
        ),
        pytest.param(
            "fieldManager=one",
            config(a="1") | {"metadata": {"name": "c", "managedFields": []}},
            400,
            "metadata.managedFields must be nil",
            id="with managedFields",
        ),
        pytest.param(
            "fieldManager=one",
            config(a="1") | {"kind": "Secret"},
            400,
            "invalid object type: /v1, Kind=Secret",
            id="another kind",
        ),
        pytest.param(
            "fieldManager=one",
            config(a="1") | {"metadata": {"name": "d"}},
            400,
            "the name of the object (d) does not match the name on the URL (c)",
            id="another name",
        ),
        pytest.param(
            "fieldManager=one",
            config(a="1") | {"dtaa": {}},
            500,
            "failed to create typed patch object (default/c; /v1, Kind=ConfigMap): .dtaa: field "
            "not declared in schema",
            id="an unknown field",
        ),
        pytest.param(
            "fieldManager=one",
            config(a="1") | {"metadata": {"name": "c", "uid": "x"}},
            409,
            'Operation cannot be fulfilled on configmaps "c": uid mismatch: the provided object '
            "specified uid x, and no existing object was found",
            id="the uid of nobody",
        ),
        pytest.param("fieldManager=one", b"a: [", 400, "error decoding YAML: yaml: ", id="no YAML"),
        pytest.param("fieldManager=one", b"[1]", 400, "error decoding YAML: ", id="no object"),
        pytest.param("fieldManager=one", b"", 400, "error decoding YAML: ", id="nothing"),
    ],
)
async def test_what_cannot_be_applied(
    rest: Rest, query: str, body: Any, status: int, message: str
) -> None:
    answer = await rest.ask("PATCH", f"{CMS}/c?{query}", body, kind=APPLY)
    assert answer.status == status, answer.body
    assert answer.json()["message"].startswith(message)


async def test_force_is_for_applies(rest: Rest) -> None:
    await apply(rest, config(a="1"))
    answer = await rest.ask("PATCH", f"{CMS}/c?force=true", {"data": {}}, kind=MERGE)
    assert answer.status == 422
    assert answer.json()["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for '
        "non-apply patch"
    )


@pytest.mark.parametrize(
    ("validation", "status", "warned"),
    [("Strict", 400, False), ("Warn", 201, True), ("", 201, True), ("Ignore", 201, False)],
)
async def test_fields_given_twice(rest: Rest, validation: str, status: int, warned: bool) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: '1'\n  a: '2'\n"
    answer = await apply(rest, text, query=f"&fieldValidation={validation}")
    assert answer.status == status
    assert ("warning" in answer.headers) == warned
    told = answer.headers.get("warning", "") if warned else answer.json().get("message", "")
    if validation != "Ignore":
        assert 'line 7: key \\"a\\" already set in map' in told.replace('"a"', '\\"a\\"')


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(HEAD + b'\t"metadata":{"name":"c"}}', 201, id="a tab"),
        pytest.param(
            HEAD + b'"metadata":{"name":"c"},"data":{"a":"1","a":"2"}}',
            400,
            id="twice",
        ),
        pytest.param(b"? [a]\n: b\n", 400, id="a key that is a list"),
        pytest.param(b'{"apiVersion":1,"kind":[],"metadata":{}}', 400, id="no kind"),
        pytest.param(HEAD + b'"metadata":[]}', 400, id="no metadata"),
        pytest.param(HEAD + b'"metadata":{"name":3}}', 400, id="name"),
        pytest.param(
            HEAD + b'"metadata":{"labels":[]}}', 500, id="labels"
        ),
        pytest.param(b"a: &a [*a]\n", 400, id="itself"),
        pytest.param(b"[" * 100_000, 400, id="deep"),
    ],
)  # fmt: skip
async def test_strange_bodies_are_answered(rest: Rest, body: bytes, status: int) -> None:
    answer = await apply(rest, body, query="&fieldValidation=Strict")
    assert (answer.status, answer.json()["kind"]) == (
        status,
        "ConfigMap" if status == 201 else "Status",
    ), answer.body
    assert b"Traceback" not in answer.body


async def test_a_stale_version_is_a_conflict(rest: Rest) -> None:
    made = (await apply(rest, config(a="1"))).json()
    old = {"name": "c", "resourceVersion": made["metadata"]["resourceVersion"]}
    assert (await apply(rest, config(a="2") | {"metadata": old})).status == 200
    stale = await apply(rest, config(a="3") | {"metadata": old})
    assert (stale.status, stale.json()["reason"]) == (409, "Conflict")
    assert "the object has been modified" in stale.json()["message"]
    other = config(a="3") | {"metadata": {"name": "c", "uid": "x"}}
    assert (await apply(rest, other)).json()["reason"] == "Conflict"


async def test_each_kind_of_write_is_noted_by_its_manager(rest: Rest) -> None:
    await rest.ask("POST", CMS, config(a="1"), user_agent="maker/v1 (linux)")
    edit = {"data": {"b": "2"}}
    await rest.ask("PATCH", f"{CMS}/c?fieldManager=merger", edit, kind=MERGE)
    add = [{"op": "add", "path": "/data/c", "value": "3"}]
    kind = "application/json-patch+json"
    obj = (await rest.ask("PATCH", f"{CMS}/c?fieldManager=lister", add, kind=kind)).json()
    obj["data"]["a"] = "2"
    obj["metadata"]["labels"] = {"x": "y"}
    obj = (await rest.ask("PUT", f"{CMS}/c?fieldManager=putter", obj)).json()
    assert managers(obj) == [
        ("lister", "Update", {"f:data": {"f:c": {}}}),
        ("maker", "Update", {"f:data": {}}),
        ("merger", "Update", {"f:data": {"f:b": {}}}),
        (
            "putter",
            "Update",
            {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:x": {}}}},
        ),
    ]


async def test_a_write_that_changes_nothing_is_none(rest: Rest) -> None:
    made = (await rest.ask("POST", CMS, config(a="1"))).json()
    edit = {"data": {"a": "1"}}
    same = await rest.ask("PATCH", f"{CMS}/c?fieldManager=two", edit, kind=MERGE)
    assert same.json() == made


@pytest.mark.parametrize("reset", [[], [{}]])
async def test_managers_can_be_forgotten(rest: Rest, reset: Any) -> None:
    await apply(rest, config(a="1"))
    obj = (await rest.ask("GET", f"{CMS}/c")).json()
    obj["metadata"]["managedFields"] = reset
    obj = (await rest.ask("PUT", f"{CMS}/c", obj)).json()
    assert "managedFields" not in obj["metadata"]
    edit = {"data": {"b": "1"}}
    obj = (await rest.ask("PATCH", f"{CMS}/c", edit, kind=MERGE)).json()
    assert "managedFields" not in obj["metadata"]
    obj = (await apply(rest, config(a="1"), "two")).json()
    assert managers(obj) == [
        ("two", "Apply", {"f:data": {"f:a": {}}}),
        ("before-first-apply", "Update", {"f:data": {".": {}, "f:a": {}, "f:b": {}}}),
    ]


async def test_managed_fields_can_be_given(rest: Rest) -> None:
    """As kubectl does when an object moves from client-side to server-side apply."""
    await rest.ask("POST", f"{CMS}?fieldManager=kubectl-client-side-apply", config(a="1", b="1"))
    obj = (await rest.ask("GET", f"{CMS}/c")).json()
    entry = obj["metadata"]["managedFields"][0] | {"manager": "kubectl", "operation": "Apply"}
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {
            "op": "replace",
            "path": "/metadata/resourceVersion",
            "value": obj["metadata"]["resourceVersion"],
        },
    ]
    await rest.ask("PATCH", f"{CMS}/c", patch, kind="application/json-patch+json")
    obj = (await apply(rest, config(a="2"), "kubectl")).json()
    assert obj["data"] == {"a": "2"}
    assert managers(obj) == [("kubectl", "Apply", {"f:data": {"f:a": {}}})]


@pytest.mark.parametrize("nonsense", [[{"operation": "x"}], [{"manager": "me"}]])
async def test_nonsense_in_managed_fields_is_ignored(rest: Rest, nonsense: Any) -> None:
    made = (await apply(rest, config(a="1"))).json()
    made["metadata"]["managedFields"] = nonsense
    obj = (await rest.ask("PUT", f"{CMS}/c", made)).json()
    assert managers(obj) == [("one", "Apply", {"f:data": {"f:a": {}}})]


async def test_kubectl_may_take_what_it_applied_before(rest: Rest) -> None:
    last = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1"}}'
    key = "kubectl.kubernetes.io/last-applied-configuration"
    made = config(a="1", b="1") | {"metadata": {"name": "c", "annotations": {key: last}}}
    await rest.ask("POST", f"{CMS}?fieldManager=kubectl-client-side-apply", made)
    assert (await apply(rest, config(a="2"), "other")).status == 409
    assert (await apply(rest, config(b="2"), "kubectl")).status == 409
    taken = await apply(rest, config(a="2"), "kubectl")
    assert taken.status == 200
    assert '"data":{"a":"2"}' in taken.json()["metadata"]["annotations"][key]


async def test_status_is_applied_by_itself(rest: Rest) -> None:
    await rest.ask("POST", DEPLOYMENTS, deployment("web"))
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 7},
        "status": {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]},
    }
    url = f"{DEPLOYMENTS}/web/status?fieldManager=controller"
    obj = (await rest.ask("PATCH", url, body, kind=APPLY)).json()
    assert (obj["status"]["replicas"], obj["spec"]["replicas"]) == (1, 1)
    mine = next(e for e in obj["metadata"]["managedFields"] if e["manager"] == "controller")
    assert (mine["subresource"], list(mine["fieldsV1"])) == ("status", ["f:status"])
    # The main resource does not reach it, and who applies there does not manage it.
    body["spec"] = deployment("web")["spec"]
    url = f"{DEPLOYMENTS}/web?fieldManager=person&force=true"
    obj = (await rest.ask("PATCH", url, body, kind=APPLY)).json()
    mine = next(e for e in obj["metadata"]["managedFields"] if e["manager"] == "person")
    assert list(mine["fieldsV1"]) == ["f:spec"]
    missing = await rest.ask("PATCH", f"{DEPLOYMENTS}/no/status?fieldManager=x", {
        **body, "metadata": {"name": "no"}
    }, kind=APPLY)  # fmt: skip
    assert missing.status == 404


async def test_scale_takes_the_replicas_and_can_be_applied(rest: Rest) -> None:
    body = deployment("web", replicas=1)
    url = f"{DEPLOYMENTS}/web?fieldManager=owner"
    await rest.ask("PATCH", url, body, kind=APPLY)
    patch = {"spec": {"replicas": 2}}
    await rest.ask("PATCH", f"{DEPLOYMENTS}/web/scale?fieldManager=scaler", patch, kind=MERGE)
    obj = (await rest.ask("GET", f"{DEPLOYMENTS}/web")).json()
    found = {e["manager"]: e for e in obj["metadata"]["managedFields"]}
    assert found["scaler"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert (found["scaler"]["subresource"], found["scaler"]["apiVersion"]) == ("scale", "apps/v1")
    assert "f:replicas" not in found["owner"]["fieldsV1"]["f:spec"]
    refused = await rest.ask("PATCH", url, body, kind=APPLY)
    assert refused.json()["message"] == (
        'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using '
        "apps/v1: .spec.replicas"
    )
    scale = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "web"},
        "spec": {"replicas": 3},
    }
    at = f"{DEPLOYMENTS}/web/scale?fieldManager=hpa"
    assert (await rest.ask("PATCH", at, scale, kind=APPLY)).status == 409
    taken = await rest.ask("PATCH", f"{at}&force=true", scale, kind=APPLY)
    assert taken.json()["spec"] == {"replicas": 3}
    obj = (await rest.ask("GET", f"{DEPLOYMENTS}/web")).json()
    assert [e["manager"] for e in obj["metadata"]["managedFields"]] == ["hpa", "owner"]


async def test_a_binding_and_the_servers_own_fields_have_no_manager(rest: Rest) -> None:
    await rest.ask("POST", f"{PODS}?fieldManager=me", pod("p"))
    before = (await rest.ask("GET", f"{PODS}/p")).json()["metadata"]["managedFields"]
    target = {"metadata": {"name": "p"}, "target": {"name": "node"}}
    bound = await rest.ask("POST", f"{PODS}/p/binding", target)
    assert bound.status == 201, bound.body
    obj = (await rest.ask("GET", f"{PODS}/p")).json()
    assert obj["spec"]["nodeName"] == "node"
    assert obj["metadata"]["managedFields"] == before
    assert "f:metadata" not in before[0]["fieldsV1"]
    assert "f:status" not in before[0]["fieldsV1"]


async def test_lists_with_keys_are_shared(rest: Rest) -> None:
    body = deployment("web", replicas=1)
    await rest.ask("PATCH", f"{DEPLOYMENTS}/web?fieldManager=owner", body, kind=APPLY)
    extra = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [CONTAINER]}}},
    }
    url = f"{DEPLOYMENTS}/web?fieldManager=injector"
    obj = (await rest.ask("PATCH", url, extra, kind=APPLY)).json()
    container = obj["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert container["image"] == body["spec"]["template"]["spec"]["containers"][0]["image"]
    again = await rest.ask("PATCH", f"{DEPLOYMENTS}/web?fieldManager=owner", body, kind=APPLY)
    assert again.json() == obj
    del extra["spec"]
    obj = (await rest.ask("PATCH", url, extra, kind=APPLY)).json()
    assert "env" not in obj["spec"]["template"]["spec"]["containers"][0]
    assert [e["manager"] for e in obj["metadata"]["managedFields"]] == ["owner"]


async def test_the_servers_own_writes_are_kube_apiservers(rest: Rest) -> None:
    await rest.bench.writer.create(config(a="1") | {"metadata": {"name": "c", "namespace": "x"}})
    obj = await rest.bench.get(gvk.CONFIG_MAP, "c", "x")
    assert managers(obj)[0][:2] == ("kube-apiserver", "Update")
