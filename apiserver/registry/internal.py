"""The API server's own reads and writes, for authentication, authorization and admission."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from apiserver.reader import ChangeHandler
from apiserver.registry import failures
from apiserver.registry.call import Call, DeleteOptions, WriteOptions
from apiserver.registry.create import create
from apiserver.registry.delete import delete
from apiserver.registry.machinery import Machinery
from apiserver.registry.policy import Policy
from apiserver.registry.resources import Resources
from apiserver.registry.update import update
from apiserver.storage import codec
from apiserver.storage.entry import Entry
from apiserver.storage.watch_cache import WatchCache
from apiserver.user import SYSTEM
from kubraft.api.gvk import GroupVersionKind, gvk_of
from kubraft.api.object import Object

# As upstream's loopback client, by its User-Agent.
MANAGER = "kube-apiserver"


class CacheReader:
    """Implements apiserver.reader.Reader over the watch cache."""

    def __init__(self, cache: WatchCache, resources: Resources) -> None:
        self._cache = cache
        self._resources = resources

    def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object | None:
        resource = self._resources[gvk]
        entry = self._cache.resources[resource.prefix].entries.get(resource.key(namespace, name))
        return entry.shared() if entry else None

    def list(self, gvk: GroupVersionKind, namespace: str = "") -> Iterable[Object]:
        resource = self._resources[gvk]
        within = resource.within(namespace)
        return [e.shared() for e in self._cache.resources[resource.prefix].select(within)]

    def add_handler(self, gvk: GroupVersionKind, handler: ChangeHandler) -> None:
        def hook(before: Entry | None, after: Entry | None) -> None:
            handler(before.view() if before else None, after.view() if after else None)

        self._cache.resources[self._resources[gvk].prefix].add_hook(hook)


class InternalWriter:
    """Implements apiserver.reader.Writer: no policy, but all rules of the kinds.

    `policy` is asked for late, as the policy itself is made with this writer.
    """

    def __init__(self, machinery: Machinery, policy: Callable[[], Policy]) -> None:
        self._machinery = machinery
        self._policy = policy

    async def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object:
        call = self._call(gvk, namespace, name)
        entry = await self._machinery.reads.get(call.resource.prefix, call.key)
        if entry is None:
            raise failures.not_found(call.resource, name)
        return entry.decode()

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        metadata = obj["metadata"]
        call = self._call(gvk_of(obj), metadata.get("namespace", ""), metadata.get("name", ""))
        options = WriteOptions(dry_run=dry_run, trusted=True, field_manager=MANAGER)
        fresh = codec.decode(codec.json_copy(obj))
        return (await create(self._machinery, self._policy(), call, fresh, options)).entry.decode()

    async def update(self, obj: Object, subresource: str = "", *, dry_run: bool = False) -> Object:
        metadata = obj["metadata"]
        call = self._call(gvk_of(obj), metadata.get("namespace", ""), metadata["name"], subresource)
        options = WriteOptions(dry_run=dry_run, trusted=True, field_manager=MANAGER)
        return (await update(self._machinery, self._policy(), call, obj, options)).entry.decode()

    async def delete(
        self,
        gvk: GroupVersionKind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_period_s: int | None = None,
    ) -> Object:
        call = self._call(gvk, namespace, name)
        options = DeleteOptions(grace_period_s=grace_period_s, uid=uid, trusted=True)
        return (await delete(self._machinery, self._policy(), call, options)).entry.decode()

    def _call(
        self, gvk: GroupVersionKind, namespace: str, name: str, subresource: str = ""
    ) -> Call:
        return Call(SYSTEM, self._machinery.resources[gvk], namespace, name, subresource)
