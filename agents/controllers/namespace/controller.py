"""Empties terminating Namespaces and lets them go."""

from __future__ import annotations

import asyncio

from agents.controllers.context import Context
from agents.controllers.namespace.content import (
    FINALIZER,
    Content,
    conditions,
    finalized,
    undiscovered,
)
from kubraft.api.errors import ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import NAMESPACE, POD, GroupVersionKind
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, uid_of
from kubraft.client.client import Kind
from kubraft.client.controller import Controller

API_SERVICE = GroupVersionKind("apiregistration.k8s.io", "v1", "APIService")
# How often what is left is looked at: Pods have a grace period, and finalizers take their time.
_AGAIN_S = 1.0
_AGAIN_S_MAX = 5.0
_DELETES_AT_ONCE = 20


class NamespaceController:
    """Reconciles one Namespace at a time per worker, by its name."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._namespaces = context.informers.of(NAMESPACE)
        self._rounds: dict[str, int] = {}
        self._controller = Controller(
            "namespace-controller",
            self.reconcile,
            workers=context.options.concurrent_namespace_syncs,
            clock=context.clock,
        )
        self._namespaces.add_handler(self._on_namespace)
        context.informers.of(POD).add_handler(self._on_pod)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, name: str) -> float | None:
        """Delete what is left; once nothing is, take our finalizer away."""
        namespace = self._namespaces.get(ObjectKey("", name))
        if namespace is None or not _is_ours(namespace):
            self._rounds.pop(name, None)
            return None
        # Only a live answer says that nothing is left, so this does not read the caches.
        content = await self._empty(name)
        try:
            latest = await self._client.get(NAMESPACE, name)
            if uid_of(latest) != uid_of(namespace) or not _is_ours(latest):
                return None
            latest = await self._report(latest, content)
            if content.is_gone():
                await self._client.update(finalized(latest), "finalize")
                return None
        except NotFoundError:
            return None
        self._rounds[name] = self._rounds.get(name, 0) + 1
        return min(_AGAIN_S * self._rounds[name], _AGAIN_S_MAX)

    async def _empty(self, name: str) -> Content:
        """Delete everything, Pods before what they may still use."""
        content = Content()
        known = await self._client.kinds(remote=True)
        services = (await self._client.list(API_SERVICE)).items
        content.undiscovered = undiscovered(services, (kind.gvk.api_version for kind in known))
        kinds = [kind for kind in known if _is_deletable(kind)]
        pods = [kind for kind in kinds if kind.gvk == POD]
        await self._empty_kinds(pods, name, content)
        if content.remaining:
            return content
        await self._empty_kinds([kind for kind in kinds if kind.gvk != POD], name, content)
        return content

    async def _empty_kinds(self, kinds: list[Kind], name: str, content: Content) -> None:
        for kind in kinds:
            resource = f"{kind.plural}.{kind.gvk.group}"
            try:
                content.add(resource, await self._delete_all(kind, name))
            except ApiError as error:
                content.failures.append(f"{resource}: {error.message}")

    async def _delete_all(self, kind: Kind, name: str) -> list[Object]:
        """Delete all objects of a kind; returns those that are still there."""
        found = (await self._client.list(kind.gvk, name)).items
        going = [obj for obj in found if not is_terminating(obj)]
        if not going:
            return found
        for start in range(0, len(going), _DELETES_AT_ONCE):
            batch = going[start : start + _DELETES_AT_ONCE]
            await asyncio.gather(*(self._delete(kind, obj) for obj in batch))
        return (await self._client.list(kind.gvk, name)).items

    async def _delete(self, kind: Kind, obj: Object) -> None:
        key = key_of(obj)
        try:
            await self._client.delete(
                kind.gvk, key.name, key.namespace, propagation="Background", uid=uid_of(obj)
            )
        except (NotFoundError, ConflictError):
            return  # it is gone, or another by now: the next look says

    async def _report(self, namespace: Object, content: Content) -> Object:
        status = namespace.get("status") or {}
        fresh = conditions(status.get("conditions"), content, self._clock.now())
        if fresh == status.get("conditions"):
            return namespace
        changed = {**namespace, "status": {**status, "conditions": fresh}}
        return await self._client.update(changed, "status")

    def _on_namespace(self, old: Object | None, new: Object | None) -> None:  # noqa: ARG002
        if new is not None and _is_ours(new):
            self._controller.queue.add(key_of(new).name)

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        """The last Pod's end is what a terminating Namespace waits for most."""
        if new is None and old is not None:
            namespace = self._namespaces.get(ObjectKey("", key_of(old).namespace))
            if namespace is not None and _is_ours(namespace):
                self._controller.queue.add(key_of(old).namespace)


def _is_ours(namespace: Object) -> bool:
    spec = namespace.get("spec") or {}
    return is_terminating(namespace) and FINALIZER in (spec.get("finalizers") or ())


def _is_deletable(kind: Kind) -> bool:
    return kind.namespaced and {"list", "delete"} <= set(kind.verbs)
