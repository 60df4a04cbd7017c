"""What a controller has done and its cache does not show yet.

A controller that creates from a stale cache creates twice. So it writes down, before each create or
delete, what it expects to see, and does not act again on that key until the cache has shown it.
Pods are expected by name, which the controller chooses: a create whose outcome is unknown (the
connection broke) keeps its name, the next try uses that name again, and the server refuses it.

Source: the idea is that of kube-controller-manager's ControllerExpectations, which counts instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kubraft.api.object import ObjectKey

# Upstream's ExpectationsTimeout: a watch that lost an event must not block a controller for ever.
EXPECTATION_TTL_S = 300.0


@dataclass(slots=True)
class _Expected:
    since_s: float
    created: set[str] = field(default_factory=set)  # names not seen yet
    deleted: set[str] = field(default_factory=set)  # uids not seen going yet
    unsure: set[str] = field(default_factory=set)  # names whose create may or may not have happened


class Expectations:
    """Expectations of one controller, by the key of the object that it works for.

    Used from one event loop: the reconciler expects and gives up, the informer's handler observes.
    """

    def __init__(self) -> None:
        self._by_key: dict[ObjectKey, _Expected] = {}

    def satisfied(self, key: ObjectKey, now_s: float) -> bool:
        """Whether the cache shows all that was done for `key`, or the wait has become too long."""
        expected = self._by_key.get(key)
        if expected is None or not (expected.created or expected.deleted):
            return True
        return now_s - expected.since_s > EXPECTATION_TTL_S

    def expect_created(self, key: ObjectKey, names: Iterable[str], now_s: float) -> None:
        """Before creating: these names will appear."""
        expected = self._begin(key, now_s)
        expected.created.update(names)
        expected.unsure -= expected.created

    def expect_deleted(self, key: ObjectKey, uids: Iterable[str], now_s: float) -> None:
        """Before deleting: these uids will be seen terminating or gone."""
        self._begin(key, now_s).deleted.update(uids)

    def created(self, key: ObjectKey, name: str) -> None:
        """The cache shows `name`, or its create surely failed: it is expected no more."""
        if expected := self._by_key.get(key):
            expected.created.discard(name)
            expected.unsure.discard(name)

    def deleted(self, key: ObjectKey, uid: str) -> None:
        """The cache shows `uid` terminating or gone, or its delete failed."""
        if expected := self._by_key.get(key):
            expected.deleted.discard(uid)

    def in_doubt(self, key: ObjectKey, name: str) -> None:
        """The create of `name` got no answer: let the next creates use that name first."""
        expected = self._by_key.get(key)
        if expected is not None and name in expected.created:
            expected.created.discard(name)
            expected.unsure.add(name)

    def doubtful(self, key: ObjectKey) -> list[str]:
        """Names that may exist already; a further create must use these before new ones."""
        expected = self._by_key.get(key)
        return sorted(expected.unsure) if expected else []

    def forget(self, key: ObjectKey) -> None:
        """The object itself is gone."""
        self._by_key.pop(key, None)

    def _begin(self, key: ObjectKey, now_s: float) -> _Expected:
        expected = self._by_key.setdefault(key, _Expected(now_s))
        if now_s - expected.since_s > EXPECTATION_TTL_S:
            expected.created.clear()
            expected.deleted.clear()
        expected.since_s = now_s
        return expected
