"""Ephemeral containers and resizes: what may change, and what is said of the rest."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubraft.api.errors import InvalidError
from kubraft.api.object import Object
from tests.apiserver.harness import Bench, pod

Change = Callable[[dict[str, Any]], None]
DEBUGGER = {"name": "debugger", "image": "busybox", "stdin": True, "tty": True}
SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m"}}


async def made(bench: Bench, **fields: Any) -> Object:
    obj = pod(**fields)
    obj["spec"]["containers"][0]["resources"] = copy.deepcopy(SMALL)
    return await bench.create(obj)


async def test_an_ephemeral_container_is_added_and_nothing_else_changes(bench: Bench) -> None:
    obj = await made(bench)
    obj["spec"]["ephemeralContainers"] = [{**DEBUGGER, "targetContainerName": "c"}]
    obj["spec"]["containers"][0]["image"] = "other:1"
    obj["metadata"]["labels"] = {"a": "b"}
    obj["status"] = {"phase": "Failed"}
    after = await bench.update(obj, "ephemeralcontainers")
    added = after["spec"]["ephemeralContainers"][0]
    assert added["terminationMessagePath"] == "/dev/termination-log"
    assert added["imagePullPolicy"] == "Always"
    assert after["metadata"]["generation"] == 2
    assert "labels" not in after["metadata"]
    assert after["status"]["phase"] == "Pending"
    assert after["spec"]["containers"][0]["image"] != "other:1"


@pytest.mark.parametrize(
    ("containers", "said"),
    [
        pytest.param(
            [], 'existing ephemeral containers "debugger" may not be removed', id="removed"
        ),
        pytest.param(
            [{**DEBUGGER, "image": "other"}],
            'existing ephemeral containers "debugger" may not be changed',
            id="changed",
        ),
        pytest.param(
            [DEBUGGER, {**DEBUGGER, "name": "c"}],
            'spec.ephemeralContainers[1].name: Duplicate value: "c"',
            id="the name of another container",
        ),
        pytest.param(
            [DEBUGGER, {**DEBUGGER, "name": "b", "ports": [{"containerPort": 80}]}],
            "spec.ephemeralContainers[1].ports: Forbidden: "
            "cannot be set for an Ephemeral Container",
            id="ports",
        ),
        pytest.param(
            [DEBUGGER, {**DEBUGGER, "name": "b", "targetContainerName": "nobody"}],
            'spec.ephemeralContainers[1].targetContainerName: Not found: "nobody"',
            id="a target that is not there",
        ),
    ],
)
async def test_ephemeral_containers_are_only_added(
    bench: Bench, containers: list[Any], said: str
) -> None:
    obj = await made(bench)
    obj["spec"]["ephemeralContainers"] = [dict(DEBUGGER)]
    obj = await bench.update(obj, "ephemeralcontainers")
    obj["spec"]["ephemeralContainers"] = [dict(each) for each in containers]
    with pytest.raises(InvalidError) as refused:
        await bench.update(obj, "ephemeralcontainers")
    assert said in refused.value.message


async def test_a_new_pod_has_no_ephemeral_containers(bench: Bench) -> None:
    with pytest.raises(InvalidError, match="spec.ephemeralContainers: Forbidden: cannot be set on"):
        await made(bench, ephemeralContainers=[dict(DEBUGGER)])


async def test_a_resize_changes_cpu_and_memory_and_nothing_else(bench: Bench) -> None:
    obj = await made(bench)
    container = obj["spec"]["containers"][0]
    container["resources"]["requests"]["cpu"] = "150m"
    container["command"] = ["other"]
    after = await bench.update(obj, "resize")
    assert after["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "150m"
    assert "command" not in after["spec"]["containers"][0]
    assert after["metadata"]["generation"] == 2


def _requests(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["containers"][0]["resources"]["requests"]
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            lambda spec: _requests(spec).pop("memory"),
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
            id="a request taken away",
        ),
        pytest.param(
            lambda spec: spec["containers"][0]["resources"].update(
                limits={"cpu": "100m", "memory": "64Mi"}
            ),
            "Pod QOS Class may not change as a result of resizing",
            id="another class of service",
        ),
        pytest.param(
            lambda spec: _requests(spec).update({"ephemeral-storage": "1Gi"}),
            "spec: Forbidden: only cpu and memory resources are mutable",
            id="another resource",
        ),
        pytest.param(
            lambda spec: spec["containers"][0].update(name="other"),
            "spec.containers[0].name: Forbidden: "
            "containers may not be renamed or reordered on resize",
            id="another name",
        ),
        pytest.param(
            lambda spec: spec.update(resources={"requests": {"cpu": "1"}}),
            "pods with pod-level resources cannot be resized",
            id="resources of the Pod",
        ),
        pytest.param(
            lambda spec: _requests(spec).update(cpu="300m"),
            "must be less than or equal to cpu limit of 200m",
            id="more than the limit",
        ),
    ],
)
async def test_what_a_resize_may_not_do(bench: Bench, change: Change, said: str) -> None:
    obj = await made(bench)
    change(obj["spec"])
    with pytest.raises(InvalidError) as refused:
        await bench.update(obj, "resize")
    assert said in refused.value.message


async def test_a_node_that_does_not_say_what_containers_have_cannot_resize(bench: Bench) -> None:
    obj = await made(bench, nodeName="n")
    running = {"name": "c", "image": "i", "imageID": "", "ready": True, "restartCount": 0}
    obj["status"]["containerStatuses"] = [
        {**running, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    ]
    obj = await bench.update(obj, "status")
    _requests(obj["spec"])["cpu"] = "150m"
    with pytest.raises(InvalidError, match="Pod running on node without support for resize"):
        await bench.update(obj, "resize")
    obj["status"]["containerStatuses"][0]["resources"] = SMALL
    del obj["metadata"]["resourceVersion"]
    obj = await bench.update(obj, "status")
    _requests(obj["spec"])["cpu"] = "150m"
    assert (await bench.update(obj, "resize"))["metadata"]["generation"] == 2
