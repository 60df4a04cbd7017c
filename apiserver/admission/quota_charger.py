"""Charges quotas by compare-and-swap of their status, many requests of a namespace in one write.

Several API servers charge the same quota: the store's compare-and-swap decides who was first, the
other reads the quota anew and decides again. Within one API server the requests that arrive while
a write is under way wait for the next one, which carries them all.

A refusal is final only if the quota was read from the store, never from the cache alone, because
the cache may not know yet of what was given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from apiserver.admission.quota_arithmetic import (
    added,
    exceeded,
    exceeded_message,
    hard_of,
    used_of,
)
from apiserver.reader import Reader, Writer
from kubraft.api.errors import ApiError, ConflictError, NotFoundError, ServiceUnavailableError
from kubraft.api.gvk import (
    CONFIG_MAP,
    DEPLOYMENT,
    LEASE,
    POD,
    REPLICA_SET,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    GroupVersionKind,
)
from kubraft.api.object import Object
from kubraft.api.pods import Resources
from kubraft.api.quota import count_name, status_of, total_usage

# Conflicts with other writers before giving up; each one means that somebody else got through.
ATTEMPTS_MAX: Final = 32
BATCH_MAX: Final = 256

# What is counted from the cache when a quota has no count yet.
COUNTED: Final[tuple[tuple[GroupVersionKind, str], ...]] = (
    (POD, "pods"),
    (SERVICE, "services"),
    (CONFIG_MAP, "configmaps"),
    (SECRET, "secrets"),
    (SERVICE_ACCOUNT, "serviceaccounts"),
    (RESOURCE_QUOTA, "resourcequotas"),
    (DEPLOYMENT, "deployments"),
    (REPLICA_SET, "replicasets"),
    (LEASE, "leases"),
)


Kinds = Callable[[], Iterable[tuple[GroupVersionKind, str]]]


@dataclass(slots=True)
class Charge:
    """One request: what it adds to each quota, and how to word its refusal."""

    namespace: str
    deltas: dict[str, Resources]
    refusal: Callable[[str], ApiError]
    dry_run: bool = False
    answer: asyncio.Future[None] | None = field(default=None, repr=False)

    def end(self, error: Exception | None = None) -> None:
        """Answer the request, unless it was answered or has gone away."""
        if self.answer is None or self.answer.done():
            return
        if error is None:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(error)

    @property
    def open(self) -> bool:
        """Whether the request still waits for its answer."""
        return self.answer is not None and not self.answer.done()


class QuotaCharger:
    """One worker task for each namespace that has charges waiting."""

    def __init__(self, reader: Reader, writer: Writer, kinds: Kinds = tuple) -> None:
        """`kinds` are counted where a quota has no count yet, beside those of COUNTED."""
        self._kinds = kinds
        self._reader = reader
        self._writer = writer
        self._waiting: dict[str, list[Charge]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._latest: dict[tuple[str, str], Object] = {}
        reader.add_handler(RESOURCE_QUOTA, self._on_change)

    async def charge(self, charge: Charge) -> None:
        """Return once all quotas have been charged.

        Raises:
            ForbiddenError: a quota would be exceeded; the quotas before it stay charged.
            ServiceUnavailableError: too many conflicts.
        """
        charge.answer = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(charge.namespace, []).append(charge)
        if charge.namespace not in self._workers:
            worker = asyncio.create_task(self._work(charge.namespace))
            self._workers[charge.namespace] = worker
        await charge.answer

    async def _work(self, namespace: str) -> None:
        """Charge batch after batch until none waits."""
        charges: list[Charge] = []
        try:
            while waiting := self._waiting.pop(namespace, None):
                charges, rest = waiting[:BATCH_MAX], waiting[BATCH_MAX:]
                if rest:
                    self._waiting[namespace] = rest
                await self._charge_all(namespace, charges)
        finally:
            for charge in (*charges, *self._waiting.pop(namespace, ())):
                charge.end(ServiceUnavailableError("the quota could not be charged; try again"))
            del self._workers[namespace]

    async def _charge_all(self, namespace: str, charges: list[Charge]) -> None:
        """Judge by all quotas, then charge them: who is refused by one must not fill another."""
        names = sorted({name for charge in charges for name in charge.deltas})
        for writes in (False, True) if len(names) > 1 else (True,):
            for name in names:
                try:
                    await self._charge_quota(namespace, name, charges, writes=writes)
                except Exception as error:  # noqa: BLE001 - each of the batch must get its answer
                    for charge in charges:
                        if name in charge.deltas:
                            charge.end(error)
        for charge in charges:
            charge.end()

    async def _charge_quota(
        self, namespace: str, name: str, charges: list[Charge], *, writes: bool
    ) -> None:
        """Charge one quota for all of `charges` that it concerns and that are still open."""
        quota, fresh = self._cached(namespace, name), False
        for _ in range(ATTEMPTS_MAX):
            concerned = [charge for charge in charges if charge.open and name in charge.deltas]
            if not concerned:
                return
            if quota is None:
                quota, fresh = await self._stored(namespace, name), True
            if quota is None:
                return  # deleted meanwhile: limits nothing
            before = self._counted(quota)
            used, refused = plan(quota, before, concerned)
            if refused and not fresh:
                quota = None
                continue
            for charge, message in refused:
                charge.end(charge.refusal(message))
            if used == before or not writes:
                return
            try:
                self._latest[namespace, name] = await self._write(quota, used)
            except ConflictError:
                quota = None
                continue
            return
        raise ServiceUnavailableError(
            f"resourcequota {namespace}/{name} changes too often to be charged; try again",
            retry_after_s=1,
        )

    def _cached(self, namespace: str, name: str) -> Object | None:
        """The newest that this API server knows: its own last write, or what the cache says."""
        latest = self._latest.get((namespace, name))
        return latest or self._reader.get(RESOURCE_QUOTA, namespace, name)

    async def _stored(self, namespace: str, name: str) -> Object | None:
        try:
            return await self._writer.get(RESOURCE_QUOTA, namespace, name)
        except NotFoundError:
            return None

    async def _write(self, quota: Object, used: Resources) -> Object:
        return await self._writer.update({**quota, "status": status_of(quota, used)}, "status")

    def _counted(self, quota: Object) -> Resources:
        """The usage of all that the quota limits; what has no count yet is counted now."""
        hard, used = hard_of(quota), used_of(quota)
        if hard.keys() - used.keys():
            used = {**count(self._reader, quota, self._kinds()), **used}
        return {name: used[name] for name in hard}

    def _on_change(self, _old: Object | None, new: Object | None) -> None:
        """The cache has caught up, or somebody else has written: our copy is of no more use."""
        changed = new or _old
        if changed is None:
            return
        metadata = changed["metadata"]
        key = (metadata["namespace"], metadata["name"])
        latest = self._latest.get(key)
        if latest is not None and (new is None or _revision(new) >= _revision(latest)):
            del self._latest[key]


def plan(
    quota: Object, used: Resources, charges: Iterable[Charge]
) -> tuple[Resources, list[tuple[Charge, str]]]:
    """Who gets through, in the order of arrival: the usage after them, and who is refused and why.

    A dry run is judged but takes no room.
    """
    name, hard = quota["metadata"]["name"], hard_of(quota)
    refused: list[tuple[Charge, str]] = []
    for charge in charges:
        delta = charge.deltas[name]
        over = exceeded(hard, used, delta)
        if over:
            message = exceeded_message(name, over, hard=hard, used=used, delta=delta)
            refused.append((charge, message))
        elif not charge.dry_run:
            used = added(used, delta)
    return used, refused


def count(
    reader: Reader, quota: Object, others: Iterable[tuple[GroupVersionKind, str]] = ()
) -> Resources:
    """What the objects in the cache use of `quota`; `others` are kinds beside those of COUNTED."""
    namespace = quota["metadata"]["namespace"]
    kinds = dict((*COUNTED, *others)).items()
    hard = (quota.get("spec") or {}).get("hard") or {}
    wanted = [
        (gvk, plural)
        for gvk, plural in kinds
        if (gvk, plural) in COUNTED or count_name(plural, gvk.group) in hard or plural in hard
    ]
    objects = ((o, plural) for gvk, plural in wanted for o in reader.list(gvk, namespace))
    return total_usage(quota, objects)


def _revision(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])
