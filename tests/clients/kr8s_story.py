"""kr8s: objects that know how to fetch, patch, wait for and watch themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import kr8s
import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import ConfigMap, Pod


@pytest.fixture
async def api(kubeconfig: str) -> Any:
    return await kr8s.asyncio.api(kubeconfig=kubeconfig)


async def config_map(api: Any, namespace: str, name: str) -> Any:
    metadata = {"name": name, "namespace": namespace, "labels": {"of": "test"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}}
    return await ConfigMap(body, api=api)


async def test_objects_come_and_go(api: Any, namespace: str) -> None:
    made = await config_map(api, namespace, "a")
    await made.create()
    assert await made.exists()
    await made.patch({"data": {"k": "w"}})
    await made.refresh()
    assert made.data.k == "w"
    await made.label(tier="front")
    await made.annotate(note="x")
    listed = [each async for each in api.get("configmaps", namespace=namespace)]
    assert [each.name for each in listed] == ["a"]
    by_label = [
        each
        async for each in api.get("configmaps", namespace=namespace, label_selector="tier=front")
    ]
    assert len(by_label) == 1
    await made.delete()
    assert not await made.exists()
    with pytest.raises(kr8s.NotFoundError):
        await ConfigMap.get("a", namespace=namespace, api=api)


async def test_pod_waits_for_its_condition(api: Any, namespace: str) -> None:
    body = {
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": "kubraft/web:1"}]},
    }
    pod = await Pod(body, api=api)
    await pod.create()
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    waiting = asyncio.create_task(pod.wait("condition=Ready", timeout=60))
    await pod.patch(ready, subresource="status")
    await waiting


async def test_watch(api: Any, namespace: str) -> None:
    made = await config_map(api, namespace, "a")
    await made.create()
    seen = []
    async for kind, each in api.watch("configmaps", namespace=namespace):
        seen.append((kind, each.name))
        if len(seen) == 1:
            await made.delete()
        else:
            break
    assert seen == [("ADDED", "a"), ("DELETED", "a")]


async def test_kinds_and_version(api: Any) -> None:
    assert (await api.version())["major"] == "1"
    kinds = {each["kind"] for each in await api.api_resources()}
    assert {"Pod", "Deployment", "Lease"} <= kinds
