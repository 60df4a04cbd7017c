"""What a controller has done and its cache does not show yet.

A controller that creates from a stale cache creates twice. So it writes down, before each create or
delete, what it expects to see, and does not act again on that key until the cache has shown it.
Pods are expected by name, which the controller chooses: a create whose outcome is unknown (the
connection broke) keeps its name, the next try uses that name again, and the server refuses it.
Should the first have been made and deleted meanwhile, the second is made: so once the answer tells
the uid, only a Pod with that uid is the one expected.

Source: the idea is that of kube-controller-manager's ControllerExpectations, which counts instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kubraft.api.object import ObjectKey

# Upstream's ExpectationsTimeout: a watch that lost an event must not block a controller for ever.
EXPECTATION_TTL_S = 300.0


@dataclass(slots=True)
class _Create:
    """One name that was asked for, until the cache surely shows what came of it."""

    attempts: int = 0
    waiting: bool = True  # for the answer or the cache; otherwise no answer came
    uid: str = ""  # of the answer
    seen: str = ""  # the uid that the cache has shown since the last attempt


@dataclass(slots=True)
class _Expected:
    since_s: float
    creates: dict[str, _Create] = field(default_factory=dict)  # by name
    deleted: set[str] = field(default_factory=set)  # uids not seen going yet


class Expectations:
    """Expectations of one controller, by the key of the object that it works for.

    Used from one event loop: the reconciler expects and gives up, the informer's handler observes.
    """

    def __init__(self) -> None:
        self._by_key: dict[ObjectKey, _Expected] = {}

    def satisfied(self, key: ObjectKey, now_s: float) -> bool:
        """Whether the cache shows all that was done for `key`, or the wait has become too long."""
        expected = self._by_key.get(key)
        if expected is None:
            return True
        waits = any(create.waiting for create in expected.creates.values())
        if not (waits or expected.deleted):
            return True
        return now_s - expected.since_s > EXPECTATION_TTL_S

    def expect_created(self, key: ObjectKey, names: Iterable[str], now_s: float) -> None:
        """Before creating: these names will appear."""
        expected = self._begin(key, now_s)
        for name in names:
            before = expected.creates.get(name, _Create())
            expected.creates[name] = _Create(before.attempts + 1)

    def expect_deleted(self, key: ObjectKey, uids: Iterable[str], now_s: float) -> None:
        """Before deleting: these uids will be seen terminating or gone."""
        self._begin(key, now_s).deleted.update(uids)

    def answered(self, key: ObjectKey, name: str, uid: str) -> None:
        """The server says that `name` exists with this uid; the cache may have been faster."""
        if create := self._create(key, name):
            create.uid, create.waiting = uid, True
            if create.seen == uid:
                self.not_created(key, name)

    def observed(self, key: ObjectKey, name: str, uid: str) -> None:
        """The cache shows `name` with this uid, or shows it going."""
        if create := self._create(key, name):
            create.seen = uid
            if create.attempts == 1 or create.uid == uid:
                self.not_created(key, name)

    def not_created(self, key: ObjectKey, name: str) -> None:
        """The create of `name` surely failed: it is expected no more."""
        if expected := self._by_key.get(key):
            expected.creates.pop(name, None)

    def deleted(self, key: ObjectKey, uid: str) -> None:
        """The cache shows `uid` terminating or gone, or its delete failed."""
        if expected := self._by_key.get(key):
            expected.deleted.discard(uid)

    def in_doubt(self, key: ObjectKey, name: str) -> None:
        """The create of `name` got no answer: let the next creates use that name first."""
        if create := self._create(key, name):
            create.waiting = False

    def doubtful(self, key: ObjectKey) -> list[str]:
        """Names that may exist already; a further create must use these before new ones."""
        expected = self._by_key.get(key)
        creates = expected.creates if expected else {}
        return sorted(name for name, create in creates.items() if not create.waiting)

    def disputed(self, key: ObjectKey) -> list[str]:
        """Doubtful names asked for more than once: only the server can say which one lives."""
        creates = self._by_key[key].creates if key in self._by_key else {}
        return [name for name in self.doubtful(key) if creates[name].attempts > 1]

    def forget(self, key: ObjectKey) -> None:
        """The object itself is gone."""
        self._by_key.pop(key, None)

    def _begin(self, key: ObjectKey, now_s: float) -> _Expected:
        expected = self._by_key.setdefault(key, _Expected(now_s))
        if now_s - expected.since_s > EXPECTATION_TTL_S:
            doubtful = {name: c for name, c in expected.creates.items() if not c.waiting}
            expected.creates = doubtful
            expected.deleted.clear()
        expected.since_s = now_s
        return expected

    def _create(self, key: ObjectKey, name: str) -> _Create | None:
        expected = self._by_key.get(key)
        return expected.creates.get(name) if expected else None
