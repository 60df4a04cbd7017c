"""An API server in this process: real pipeline, gRPC and TLS on a store of the test's choice."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from apiserver.admission.request import AdmissionRequest
from apiserver.admission.webhook.client import WebhookClient
from apiserver.authn.credentials import Credentials
from apiserver.authz.attributes import Attributes, Decision
from apiserver.authz.rule import Rule
from apiserver.conversion_webhook import WebhookConverter
from apiserver.definition_controller import DefinitionController
from apiserver.registry.allocator import ServiceAllocator
from apiserver.registry.call import Call, WriteOptions
from apiserver.registry.custom.follower import DefinitionFollower
from apiserver.registry.internal import CacheReader, InternalWriter
from apiserver.registry.machinery import Machinery
from apiserver.registry.policy import Policy
from apiserver.registry.registry import Registry
from apiserver.registry.resources import Resources, kinds
from apiserver.schema.schemas import Schemas
from apiserver.storage.cached_reads import CachedReads
from apiserver.storage.memory_store import MemoryStore
from apiserver.storage.store import Store
from apiserver.storage.watch_cache import WatchCache
from apiserver.user import User
from kubraft.api.errors import ServiceUnavailableError
from kubraft.api.gvk import SERVICE, GroupVersionKind, gvk_of
from kubraft.api.object import Object
from kubraft.api.time import ManualClock
from kubraft.pki import make_pki

ADMIN = User("admin", groups=("system:masters",))
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


class AllowAll:
    """A policy that says yes, for tests of what comes after it."""

    def authorize(self, attributes: Attributes) -> Decision:
        return Decision(allowed=True)

    def rules_of(self, user: User, namespace: str) -> list[Rule]:
        return []

    async def mutate(self, request: AdmissionRequest) -> None:
        pass

    async def validate(self, request: AdmissionRequest) -> None:
        pass

    async def authenticate(self, credentials: Credentials) -> User:
        return ADMIN


@dataclass
class Bench:
    """A registry with what it runs on."""

    store: Store
    cache: WatchCache
    registry: Registry
    reader: CacheReader
    writer: InternalWriter
    clock: ManualClock

    def call(
        self, gvk: GroupVersionKind, name: str = "", namespace: str = "", sub: str = ""
    ) -> Call:
        resource = self.registry.resources[gvk]
        namespace = (namespace or "default") if resource.namespaced else ""
        return Call(ADMIN, resource, namespace, name, sub)

    async def create(self, obj: Object, **options: Any) -> Object:
        metadata = obj["metadata"]
        call = self.call(gvk_of(obj), metadata.get("name", ""), metadata.get("namespace", ""))
        written = await self.registry.create(call, copy(obj), WriteOptions(**options))
        return written.entry.decode()

    async def update(self, obj: Object, sub: str = "", **options: Any) -> Object:
        metadata = obj["metadata"]
        call = self.call(gvk_of(obj), metadata["name"], metadata.get("namespace", ""), sub)
        written = await self.registry.update(call, copy(obj), WriteOptions(**options))
        return written.entry.decode()

    async def get(self, gvk: GroupVersionKind, name: str, namespace: str = "") -> Object:
        return (await self.registry.get(self.call(gvk, name, namespace))).decode()


def copy(obj: Object) -> Object:
    import copy as copying

    return copying.deepcopy(obj)


@contextlib.asynccontextmanager
async def running_registry(store: Store | None = None) -> AsyncIterator[Bench]:
    """A registry whose caches are filled and follow the store."""
    store = store or MemoryStore()
    resources = Resources()
    cache = WatchCache(store, [row.prefix for row in resources])
    reader = CacheReader(cache, resources)
    rng, clock = Random(1), ManualClock(NOW)
    machinery = Machinery(
        store=store,
        reads=CachedReads(store, cache),
        resources=resources,
        schemas=SCHEMAS,
        services=ServiceAllocator(lambda: reader.list(SERVICE), rng),
        clock=clock,
        rng=rng,
    )
    allow = AllowAll()
    policy = Policy(allow, allow)
    writer = InternalWriter(machinery, lambda: policy)
    gone = ServiceUnavailableError("gone")
    webhooks = WebhookClient(reader, rng)
    DefinitionFollower(
        reader,
        resources,
        lambda prefix: cache.resources[prefix].close(gone),
        lambda name, webhook: WebhookConverter(webhooks, name, webhook),
    )
    definitions = DefinitionController(reader, writer, machinery, policy)
    tasks = [asyncio.create_task(cache.run()), asyncio.create_task(definitions.run())]
    async with asyncio.timeout(10):
        await cache.wait_synced()
    try:
        yield Bench(store, cache, Registry(machinery, policy), reader, writer, clock)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await webhooks.close()
        await store.close()


SCHEMAS = Schemas(kinds(Resources()))


def make_test_pki(folder: Path) -> Path:
    """Keys and certificates of a cluster with one member and one node."""
    folder.mkdir(mode=0o700, exist_ok=True)
    make_pki(folder, members=["store-0"], nodes=["node-0"], now=dt.datetime.now(dt.UTC))
    return folder


def pod(name: str = "web", **spec: Any) -> Object:
    container = {"name": "c", "image": "kubraft/web:1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], **spec},
    }


def deployment(name: str = "web", **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod()["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def service(name: str = "web", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": [{"port": 80}], **spec},
    }


def simple(kind: str, name: str = "x", *, api_version: str = "v1", **fields: Any) -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}
