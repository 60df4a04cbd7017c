"""CustomResourceDefinitions: their life, defaults, versions and what clients are told of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubraft.api.object import Object
from tests.apiserver.conformance.cluster import Cluster, eventually
from tests.apiserver.conformance.definitions import (
    ANYTHING,
    DEFINITIONS,
    EMBEDDED,
    SPEC,
    Custom,
    custom,
    define,
    definition,
    of_spec,
    version,
)
from tests.apiserver.conformance.held import conforms

pytestmark = pytest.mark.asyncio(loop_scope="session")

OF = "[sig-api-machinery] CustomResourceDefinition"
SIMPLE = f"{OF} resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition"
PUBLISH = "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin]"
CONVERT = "[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin]"


@conforms(
    f"{SIMPLE} creating/deleting custom resource definition objects works",
    f"{SIMPLE} listing custom resource definition objects works",
)
async def test_definitions_come_and_go(cluster: Cluster) -> None:
    label = cluster.name("crd")
    rows = [custom(cluster) for _ in range(4)]
    for row in rows:
        await cluster.create(DEFINITIONS, definition(row, labels={"story": label}))
    chosen = f"{DEFINITIONS}?labelSelector=story%3D{label}"
    assert len(await cluster.items(chosen)) == 4
    await cluster.delete(rows[0].definition)

    async def left(count: int) -> bool:
        return len(await cluster.items(chosen)) == count

    await eventually(lambda: left(3))
    await cluster.delete(chosen)
    await eventually(lambda: left(0))


@conforms(
    f"{SIMPLE} getting/updating/patching custom resource definition status sub-resource works"
)
async def test_the_status_of_a_definition_is_written_by_itself(cluster: Cluster) -> None:
    made = await define(cluster, custom(cluster))
    path = f"{made.definition}/status"
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set"}
    while True:
        read = await cluster.get(path)
        read["status"]["conditions"].append(condition)
        answer = await cluster.ask("PUT", path, read)
        if answer.status != 409:
            break
    assert answer.status == 200, answer.body
    assert "StatusUpdate" in [c["type"] for c in answer.json()["status"]["conditions"]]
    conditions = [*answer.json()["status"]["conditions"], {**condition, "type": "StatusPatch"}]
    patched = await cluster.patch(path, {"status": {"conditions": conditions}})
    assert "StatusPatch" in [c["type"] for c in patched["status"]["conditions"]]


@conforms(f"{OF} Watch [Privileged:ClusterAdmin] CustomResourceDefinition Watch watch on custom "
          "resource definition objects")  # fmt: skip
async def test_custom_objects_are_watched(cluster: Cluster) -> None:
    made = await define(cluster, custom(cluster))
    async with cluster.watching(made.path()) as events:
        for name in ("name1", "name2"):
            await cluster.create(made.path(), made.make(name))
            assert (await events.next())[0] == "ADDED"
            await cluster.patch(f"{made.path()}/{name}", {"dummy": "test"})
            assert (await events.next())[0] == "MODIFIED"
            await cluster.delete(f"{made.path()}/{name}")
            assert (await events.next())[0] == "DELETED"


@conforms("[sig-api-machinery] CustomResourceFieldSelectors [Privileged:ClusterAdmin] "
          "CustomResourceFieldSelectors MUST list and watch custom resources matching the field "
          "selector")  # fmt: skip
async def test_custom_objects_are_selected_by_fields(cluster: Cluster) -> None:
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"host": text, "port": text}}
    fields = [{"jsonPath": ".host"}, {"jsonPath": ".port"}]
    made = await define(cluster, custom(cluster), version(schema=schema, selectableFields=fields))
    chosen = f"{made.path()}?fieldSelector=host%3Dhost1"
    async with cluster.watching(chosen) as events:
        rows = (("a", "host1", "80"), ("b", "host1", "8080"), ("c", "host2", "80"))
        for name, host, port in rows:
            await cluster.create(made.path(), made.make(name, host=host, port=port))
        assert [(await events.next())[1]["metadata"]["name"] for _ in range(2)] == ["a", "b"]
        assert [o["metadata"]["name"] for o in await cluster.items(chosen)] == ["a", "b"]
        assert len(await cluster.items(f"{chosen}%2Cport%3D80")) == 1
        await cluster.delete(f"{made.path()}?fieldSelector=host%3Dhost2")
        assert len(await cluster.items(made.path())) == 2
        await cluster.patch(f"{made.path()}/a", {"host": "host2"})
        assert (await events.next())[0] == "DELETED"


@conforms(f"{OF} resources [Privileged:ClusterAdmin] custom resource defaulting for requests and "
          "from storage works")  # fmt: skip
async def test_defaults_come_and_go(cluster: Cluster) -> None:
    made = await define(cluster, custom(cluster), version(schema=_defaults()))
    await cluster.create(made.path(), made.make("one"))
    await _change(cluster, made, _defaults(a="A"))

    async def shown(name: str, **wanted: str) -> bool:
        read = await cluster.get(f"{made.path()}/{name}")
        return {key: read[key] for key in "ab" if key in read} == wanted

    await eventually(lambda: shown("one", a="A"))
    await cluster.create(made.path(), made.make("two"))
    assert await shown("two", a="A")
    await _change(cluster, made, _defaults(b="B"))
    await eventually(lambda: shown("two", a="A", b="B"))
    await eventually(lambda: shown("one", b="B"))


def _defaults(**values: str) -> dict[str, Any]:
    text = {"type": "string"}
    properties = {
        name: {**text, "default": values[name]} if name in values else text for name in "ab"
    }
    return {"type": "object", "properties": properties}


async def _change(cluster: Cluster, made: Custom, schema: dict[str, Any]) -> None:
    path = "/spec/versions/0/schema/openAPIV3Schema"
    await cluster.patch(made.definition, [{"op": "replace", "path": path, "value": schema}], "json")


# What clients validate and explain by


async def _definitions(cluster: Cluster) -> dict[str, Any]:
    return dict((await cluster.get("/openapi/v2"))["definitions"])


def _definition_name(made: Custom, at: str = "v1") -> str:
    return ".".join([*reversed(made.group.split(".")), at, made.kind])


async def _published(cluster: Cluster, made: Custom, at: str = "v1") -> Any:
    """Both documents have the kind; the schema is of the newer one, by which kubectl explains."""
    name = _definition_name(made, at)

    async def found() -> Any:
        return (await _definitions(cluster)).get(name)

    older = await eventually(found)
    newer = await cluster.get(f"/openapi/v3/apis/{made.group}/{at}")
    schema = newer["components"]["schemas"][name]
    for each in (older, schema):
        assert each["x-kubernetes-group-version-kind"] == [
            {"group": made.group, "kind": made.kind, "version": at}
        ]
    # By the older one, old clients validate: there a kind that takes anything names no fields.
    anything = schema.get("x-kubernetes-preserve-unknown-fields")
    assert older.get("properties", {}).keys() == (
        set() if anything else schema["properties"].keys()
    )
    return schema


@conforms(
    f"{PUBLISH} works for CRD with validation schema",
    f"{PUBLISH} works for CRD without validation schema",
    f"{PUBLISH} works for CRD preserving unknown fields at the schema root",
    f"{PUBLISH} works for CRD preserving unknown fields in an embedded object",
)
@pytest.mark.parametrize(
    ("schema", "said"),
    [
        pytest.param(of_spec(SPEC), {"spec", "foo", "cronSpec", "ports"}, id="with a schema"),
        pytest.param(ANYTHING, {"x-kubernetes-preserve-unknown-fields"}, id="without"),
        pytest.param(
            {**of_spec(SPEC), "x-kubernetes-preserve-unknown-fields": True},
            {"x-kubernetes-preserve-unknown-fields", "cronSpec"},
            id="at the root",
        ),
        pytest.param(
            of_spec({"type": "object", "properties": {"template": {
                **EMBEDDED, "x-kubernetes-preserve-unknown-fields": True}}}),
            {"x-kubernetes-embedded-resource", "x-kubernetes-preserve-unknown-fields"},
            id="embedded",
        ),
    ],
)  # fmt: skip
async def test_a_schema_is_published(cluster: Cluster, schema: Any, said: set[str]) -> None:
    made = await define(cluster, custom(cluster), version(schema=schema))
    text = json.dumps(await _published(cluster, made))
    assert {name for name in said if f'"{name}"' in text} == said


@conforms(
    f"{PUBLISH} works for multiple CRDs of different groups",
    f"{PUBLISH} works for multiple CRDs of same group and version but different kinds",
)
async def test_schemas_of_many_definitions_are_published(cluster: Cluster) -> None:
    first = await define(cluster, custom(cluster), version(schema=of_spec(SPEC)))
    others = [
        await define(cluster, custom(cluster), version(schema=of_spec(SPEC))),
        await define(
            cluster, custom(cluster, "Moxu", group=first.group), version(schema=of_spec(SPEC))
        ),
    ]
    for made in (first, *others):
        assert "spec" in (await _published(cluster, made))["properties"]


@conforms(
    f"{PUBLISH} works for multiple CRDs of same group but different versions",
    f"{PUBLISH} updates the published spec when one version gets renamed",
    f"{PUBLISH} removes definition from spec when one version gets changed to not be served",
)
async def test_schemas_follow_the_versions(cluster: Cluster) -> None:
    second = version("v2", of_spec(SPEC), storage=False)
    made = await define(cluster, custom(cluster), version(schema=of_spec(SPEC)), second)
    for at in ("v1", "v2"):
        await _published(cluster, made, at)
    rename = [{"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]
    await cluster.patch(made.definition, rename, "json")
    await _published(cluster, made, "v4")
    assert _definition_name(made, "v2") not in await _definitions(cluster)
    stop = [{"op": "replace", "path": "/spec/versions/1/served", "value": False}]
    await cluster.patch(made.definition, stop, "json")

    async def gone() -> bool:
        return _definition_name(made, "v4") not in await _definitions(cluster)

    await eventually(gone)
    await _published(cluster, made)


@conforms(
    f"{CONVERT} should be able to convert from CR v1 to CR v2",
    f"{CONVERT} should be able to convert a non homogeneous list of CRs",
)
async def test_a_webhook_converts_what_is_kept_in_either_version(cluster: Cluster) -> None:
    name = custom(cluster)
    hook = f"/convert-{name.group}"
    cluster.hooks.answers[hook] = _converted
    webhook = {
        "clientConfig": {
            "url": f"https://127.0.0.1:{cluster.hooks.port}{hook}",
            "caBundle": cluster.hooks.bundle,
        },
        "conversionReviewVersions": ["v1"],
    }
    versions = (version("v1"), version("v2", storage=False))
    conversion = {"strategy": "Webhook", "webhook": webhook}
    made = await define(cluster, name, *versions, conversion=conversion)
    await cluster.create(made.path("v1"), made.make("one", hostPort="localhost:8080"))
    read = await cluster.get(f"{made.path('v2')}/one")
    assert (read["host"], read["port"]) == ("localhost", "8080")

    store_v2 = [
        {"op": "replace", "path": "/spec/versions/0/storage", "value": False},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": True},
    ]
    await cluster.patch(made.definition, store_v2, "json")
    await cluster.create(made.path("v2"), made.make("two", "v2", host="localhost", port="80"))
    listed = {o["metadata"]["name"]: o for o in await cluster.items(made.path("v2"))}
    assert {(n, o["host"], o["port"]) for n, o in listed.items()} == {
        ("one", "localhost", "8080"), ("two", "localhost", "80"),
    }  # fmt: skip
    listed = {o["metadata"]["name"]: o for o in await cluster.items(made.path("v1"))}
    assert {o["hostPort"] for o in listed.values()} == {"localhost:8080", "localhost:80"}


def _converted(request: dict[str, Any]) -> dict[str, Any]:
    wanted = request["desiredAPIVersion"]
    made: list[Object] = []
    for given in request["objects"]:
        obj = {**given, "apiVersion": wanted}
        if wanted.endswith("/v2"):
            obj["host"], _, obj["port"] = obj.pop("hostPort").partition(":")
        else:
            obj["hostPort"] = f"{obj.pop('host')}:{obj.pop('port')}"
        made.append(obj)
    return {"convertedObjects": made, "result": {"status": "Success"}}
