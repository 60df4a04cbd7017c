"""kubernetes_asyncio: typed calls, patches and a watch, all at once on one connection pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes_asyncio import client, config, watch


@pytest.fixture
async def core(kubeconfig: str) -> AsyncIterator[Any]:
    api = await config.new_client_from_config(kubeconfig)
    async with api:
        yield client.CoreV1Api(api)


async def test_many_calls_at_once(core: Any, namespace: str) -> None:
    def body(name: str) -> Any:
        return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data={"k": name})

    names = [f"c{number}" for number in range(20)]
    await asyncio.gather(
        *(core.create_namespaced_config_map(namespace, body(name)) for name in names)
    )
    listed = await core.list_namespaced_config_map(namespace)
    assert sorted(each.metadata.name for each in listed.items) == sorted(names)
    changed = await core.patch_namespaced_config_map("c0", namespace, {"data": {"k": "new"}})
    assert changed.data == {"k": "new"}
    with pytest.raises(client.ApiException) as missing:
        await core.read_namespaced_config_map("none", namespace)
    assert missing.value.status == 404
    await core.delete_collection_namespaced_config_map(namespace)
    assert (await core.list_namespaced_config_map(namespace)).items == []


async def test_watch(core: Any, namespace: str) -> None:
    version = (await core.list_namespaced_config_map(namespace)).metadata.resource_version

    async def follow() -> list[tuple[str, str]]:
        seen: list[tuple[str, str]] = []
        async with watch.Watch().stream(
            core.list_namespaced_config_map,
            namespace,
            resource_version=version,
            timeout_seconds=60,
        ) as stream:
            async for event in stream:
                seen.append((event["type"], event["object"].metadata.name))
                if len(seen) == 2:
                    break
        return seen

    following = asyncio.create_task(follow())
    await core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
    await core.delete_namespaced_config_map("a", namespace)
    assert await following == [("ADDED", "a"), ("DELETED", "a")]
