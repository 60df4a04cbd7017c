"""Keeps `status.used` of ResourceQuotas true: admission only ever adds to it.

Admission charges a quota before the object is stored, so what is charged and not to be seen may be
about to come. It is given back only once nobody has charged the quota for a while; a quota that is
full is not charged, so that this always comes to pass where it matters.

Source: Kubernetes documentation, "Resource Quotas".
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.controllers.context import Context
from agents.controllers.status import same_status
from kubraft.api.gvk import POD, RESOURCE_QUOTA, SERVICE
from kubraft.api.object import Object, ObjectKey, key_of
from kubraft.api.pods import is_terminated
from kubraft.api.quantity import parse_quantity
from kubraft.api.quota import status_of, total_usage
from kubraft.client.client import Kind
from kubraft.client.controller import Controller
from kubraft.client.informer import Handler, Informer

# Many Pods end at once: they are counted once.
_SETTLE_S = 0.2
# Longer than it takes from a charge to the object's arrival in our cache.
_QUIET_S = 1.0


class ResourceQuotaController:
    """Reconciles one ResourceQuota at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._changed_at_s: dict[ObjectKey, float] = {}
        self._period_s = context.options.resource_quota_sync_s
        self._quotas = context.informers.of(RESOURCE_QUOTA)
        self._counted: list[tuple[str, Informer]] = []
        self._controller = Controller(
            "resourcequota-controller",
            self.reconcile,
            workers=context.options.concurrent_resource_quota_syncs,
            clock=context.clock,
        )
        self._quotas.add_handler(self._on_quota)
        context.discovery.follow(self._follow)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Sum up what there is; comes back after the sync period."""
        quota = self._quotas.get(key)
        if quota is None:
            return None
        fresh = status_of(quota, total_usage(quota, self._objects(key.namespace)))
        if same_status(quota.get("status"), fresh):
            return self._period_s
        quiet_s = self._clock.monotonic_s() - self._changed_at_s.get(key, -_QUIET_S)
        if quiet_s < _QUIET_S and gives_back(quota.get("status"), fresh):
            return _QUIET_S - quiet_s
        await self._client.update({**quota, "status": fresh}, "status")
        return self._period_s

    def _objects(self, namespace: str) -> Iterable[tuple[Object, str]]:
        for plural, informer in self._counted:
            for obj in informer.list(namespace):
                yield obj, plural

    def _follow(self, kind: Kind, informer: Informer) -> None:
        if not kind.namespaced or "create" not in kind.verbs:
            return
        self._counted.append((kind.plural, informer))
        informer.add_handler(self._handler(kind))

    def _handler(self, kind: Kind) -> Handler:
        def on_change(old: Object | None, new: Object | None) -> None:
            if old is None or (new is not None and not _uses_less(kind, old, new)):
                return
            for quota in self._quotas.list(key_of(old).namespace):
                self._controller.queue.add_after(key_of(quota), _SETTLE_S)

        return on_change

    def _on_quota(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._changed_at_s[key_of(new)] = self._clock.monotonic_s()
        elif old is not None:
            self._changed_at_s.pop(key_of(old), None)
        if new is not None and (old is None or old.get("spec") != new.get("spec")):
            self._controller.queue.add(key_of(new))


def gives_back(before: Object | None, after: Object) -> bool:
    """Whether less is used of anything by the status `after` than by `before`."""
    used = (before or {}).get("used") or {}
    return any(
        name in used and parse_quantity(amount) < parse_quantity(used[name])
        for name, amount in after["used"].items()
    )


def _uses_less(kind: Kind, old: Object, new: Object) -> bool:
    """Whether a change may have freed something: a Pod ended, a Service gave up ports."""
    if kind.gvk == POD:
        return is_terminated(new) and not is_terminated(old)
    return kind.gvk == SERVICE and old.get("spec") != new.get("spec")
