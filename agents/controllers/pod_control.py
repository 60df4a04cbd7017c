"""Creates and deletes the Pods of one kind of owner, never one too many.

The cache may lack what was done a moment ago, and an answer may be lost; expectations.py says how
neither leads to a second Pod. A create has a slot (a completion index, a node, or "" where any Pod
does): a name whose create got no answer is asked for again only for the same slot.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agents.controllers.context import Context
from agents.controllers.executor import namespace_is_ending
from agents.controllers.expectations import Expectations
from kubraft.api.errors import (
    AlreadyExistsError,
    ApiError,
    NotFoundError,
    ServiceUnavailableError,
    TimeoutError_,
)
from kubraft.api.gvk import POD, GroupVersionKind
from kubraft.api.names import generate_name
from kubraft.api.object import Object, ObjectKey, controller_of, is_terminating, key_of, uid_of
from kubraft.client.events import EventRecorder

# After this the answer to a write is not known: it may have happened.
AMBIGUOUS = (ServiceUnavailableError, TimeoutError_)
# Slow start: one create first, twice as many after each batch that succeeded. Source: upstream's
# SlowStartInitialBatchSize.
FIRST_BATCH = 1
# A bound on names drawn for one create, should each be taken.
_NAME_ATTEMPTS = 8

Build = Callable[[str], Object]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One Pod to create: `build` makes it for a name that begins with `prefix`."""

    prefix: str
    build: Build
    slot: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many writes succeeded, and the first refusal, if any."""

    done: int = 0
    error: ApiError | None = None


def batches(count: int) -> list[int]:
    """The sizes of slow-start batches for `count` creates: 1, 2, 4, ...

    So a cause that refuses every Pod (a quota, a webhook) is met once, not `count` times.
    """
    sizes: list[int] = []
    size = FIRST_BATCH
    while count > 0:
        sizes.append(min(size, count))
        count -= sizes[-1]
        size *= 2
    return sizes


class PodControl:
    """For one controller; its Pod handler tells `observe` of every Pod of its owners."""

    def __init__(self, context: Context, recorder: EventRecorder, kind: GroupVersionKind) -> None:
        self._client = context.client
        self._clock = context.clock
        self._rng = context.rng
        self._recorder = recorder
        self._kind = kind
        self._pods = context.informers.of(POD)
        self._expectations = Expectations()
        self._slots: dict[ObjectKey, dict[str, str]] = {}  # of doubtful names

    async def settled(self, owner: Object) -> bool:
        """Whether the cache shows all that was done for `owner`, so that it may act again."""
        await self._settle_disputes(owner)
        return self._expectations.satisfied(key_of(owner), self._clock.monotonic_s())

    def forget(self, key: ObjectKey) -> None:
        """The owner is gone."""
        self._expectations.forget(key)
        self._slots.pop(key, None)

    def observe(self, key: ObjectKey, pod: Object, *, gone: bool) -> None:
        """The cache shows a Pod of the owner `key`, or its end."""
        self._expectations.observed(key, pod["metadata"]["name"], uid_of(pod))
        if gone or is_terminating(pod):
            self._expectations.deleted(key, uid_of(pod))

    def owner_key(self, pod: Object) -> ObjectKey | None:
        """The key of the Pod's controlling owner, where that is of this kind."""
        owner = controller_of(pod)
        if owner is None or owner["kind"] != self._kind.kind:
            return None
        return ObjectKey(key_of(pod).namespace, owner["name"])

    async def create(self, owner: Object, wanted: Sequence[Wanted]) -> Outcome:
        """Create these Pods by slow start; ends with the first batch that is not all made.

        That the Namespace is ending is no error: there will be no Pods.
        """
        key = key_of(owner)
        doubtful = set(self._expectations.doubtful(key))
        named = self._names(key, wanted)
        done = 0
        for size in batches(len(named)):
            batch = dict(list(named.items())[:size])
            named = {name: want for name, want in named.items() if name not in batch}
            self._expectations.expect_created(key, batch, self._clock.monotonic_s())
            self._slots.setdefault(key, {}).update({n: w.slot for n, w in batch.items()})
            creates = (
                self._create_one(owner, want.build(name), repeated=name in doubtful)
                for name, want in batch.items()
            )
            results = await asyncio.gather(*creates)
            failed = [error for error in results if error is not None]
            done += len(results) - len(failed)
            if failed:
                return Outcome(done, None if namespace_is_ending(failed[0]) else failed[0])
        return Outcome(done)

    async def delete(self, owner: Object, victims: Sequence[Object]) -> Outcome:
        """Delete these Pods, all at once."""
        if not victims:
            return Outcome()
        uids = [uid_of(pod) for pod in victims]
        self._expectations.expect_deleted(key_of(owner), uids, self._clock.monotonic_s())
        results = await asyncio.gather(*(self._delete_one(owner, pod) for pod in victims))
        failed = [error for error in results if error is not None]
        return Outcome(len(results) - len(failed), failed[0] if failed else None)

    def _names(self, key: ObjectKey, wanted: Sequence[Wanted]) -> Mapping[str, Wanted]:
        """A name for each: one of its slot whose create got no answer, or a new one."""
        slots = self._slots.get(key, {})
        doubtful = self._expectations.doubtful(key)
        self._slots[key] = {name: slots.get(name, "") for name in doubtful}
        free: dict[str, list[str]] = {}
        for name in doubtful:
            free.setdefault(slots.get(name, ""), []).append(name)
        named: dict[str, Wanted] = {}
        for want in wanted:
            known = free.get(want.slot)
            name = known.pop(0) if known else self._new_name(key.namespace, want.prefix, named)
            named[name] = want
        return named

    def _new_name(self, namespace: str, prefix: str, taken: Mapping[str, Wanted]) -> str:
        for _ in range(_NAME_ATTEMPTS):
            name = generate_name(prefix, self._rng)
            if name not in taken and not self._pods.get(ObjectKey(namespace, name)):
                break
        return name

    async def _create_one(self, owner: Object, pod: Object, *, repeated: bool) -> ApiError | None:
        """Create one Pod; `repeated` says that an earlier create of that name got no answer."""
        key, name = key_of(owner), pod["metadata"]["name"]
        try:
            created = await self._client.create(pod)
        except AlreadyExistsError as error:
            return await self._on_name_taken(owner, name, error)
        except AMBIGUOUS as error:
            # It may have happened: the next try uses the same name.
            self._expectations.in_doubt(key, name)
            return error
        except ApiError as error:
            if repeated and await self._may_exist(key, name):
                self._expectations.in_doubt(key, name)
            else:
                self._expectations.not_created(key, name)
            if not namespace_is_ending(error):
                text = f"Error creating: {error.message}"
                self._recorder.event(owner, "Warning", "FailedCreate", text)
            return error
        self._expectations.answered(key, name, uid_of(created))
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        return None

    async def _may_exist(self, key: ObjectKey, name: str) -> bool:
        """Whether a create that got no answer may have happened: false only if surely not."""
        try:
            await self._client.get(POD, name, key.namespace)
        except NotFoundError:
            return False
        except ApiError:
            return True
        return True

    async def _on_name_taken(
        self, owner: Object, name: str, error: AlreadyExistsError
    ) -> ApiError | None:
        """It is ours, by a create whose answer was lost; or another's: the next try draws anew."""
        key = key_of(owner)
        try:
            live = await self._client.get(POD, name, key.namespace)
        except ApiError as failure:
            self._expectations.in_doubt(key, name)
            return failure
        if _owned_by(live, owner):
            self._settle(key, live)
            return None
        self._expectations.not_created(key, name)
        return error

    async def _settle_disputes(self, owner: Object) -> None:
        """Ask the server for Pods whose creates went without an answer more than once."""
        key = key_of(owner)
        for name in self._expectations.disputed(key):
            with contextlib.suppress(NotFoundError):
                live = await self._client.get(POD, name, key.namespace)
                if _owned_by(live, owner):
                    self._settle(key, live)
                else:
                    self._expectations.not_created(key, name)

    def _settle(self, key: ObjectKey, live: Object) -> None:
        """Expect the Pod that the server has, unless the cache has it already."""
        self._expectations.answered(key, key_of(live).name, uid_of(live))
        if cached := self._pods.get(key_of(live)):
            self._expectations.observed(key, key_of(live).name, uid_of(cached))

    async def _delete_one(self, owner: Object, pod: Object) -> ApiError | None:
        key, name = key_of(pod), pod["metadata"]["name"]
        try:
            await self._client.delete(POD, key.name, key.namespace, uid=uid_of(pod))
        except ApiError as error:
            self._expectations.deleted(key_of(owner), uid_of(pod))
            if isinstance(error, NotFoundError):
                return None
            text = f"Error deleting: {error.message}"
            self._recorder.event(owner, "Warning", "FailedDelete", text)
            return error
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        return None


def _owned_by(pod: Object, owner: Object) -> bool:
    reference = controller_of(pod)
    return reference is not None and reference["uid"] == uid_of(owner)
