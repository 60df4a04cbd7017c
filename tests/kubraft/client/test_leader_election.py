"""Elections under a simulated clock: the API server loses, delays and repeats what it is told."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import pytest

from kubraft.api.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    ServiceUnavailableError,
)
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.time import ManualClock, settle
from kubraft.client.leader_election import LeaderElector, LeadershipLostError


class LeaseStore:
    """One Lease with compare-and-swap, as the API server keeps it."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.writes: list[str] = []

    def read(self) -> Object:
        if self.lease is None:
            raise NotFoundError("not found")
        return copy.deepcopy(self.lease)

    def write(self, obj: Object, *, create: bool) -> Object:
        if create:
            if self.lease is not None:
                raise AlreadyExistsError("already exists")
        elif self.lease is None:
            raise NotFoundError("not found")
        elif obj["metadata"]["resourceVersion"] != str(self.version):
            raise ConflictError("modified")
        self.version += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        self.lease = {**copy.deepcopy(obj), "metadata": metadata}
        self.writes.append(obj["spec"]["holderIdentity"])
        return copy.deepcopy(self.lease)


class Link:
    """One candidate's way to the store, which may be slow, broken or half broken."""

    def __init__(self, store: LeaseStore, clock: ManualClock, rng: Random) -> None:
        self.store, self.clock, self.rng = store, clock, rng
        self.fault = 0.0  # how likely a call fails
        self.delay_s_max = 0.0
        self.cut = False

    async def get(self, gvk: GroupVersionKind, name: str, namespace: str = "") -> Object:
        await self._travel()
        return await self._answer(self.store.read())

    async def create(self, obj: Object) -> Object:
        await self._travel()
        return await self._answer(self.store.write(obj, create=True))

    async def update(self, obj: Object) -> Object:
        await self._travel()
        return await self._answer(self.store.write(obj, create=False))

    async def _travel(self) -> None:
        if self.delay_s_max:
            await self.clock.sleep(self.rng.random() * self.delay_s_max)
        if self.cut or self.rng.random() < self.fault:
            raise ServiceUnavailableError("lost on the way there")

    async def _answer(self, obj: Object) -> Object:
        if self.delay_s_max:
            await self.clock.sleep(self.rng.random() * self.delay_s_max)
        if self.cut or self.rng.random() < self.fault:
            raise ServiceUnavailableError("lost on the way back")
        return obj


class Candidate:
    """A process that starts anew whenever it loses the Lease."""

    def __init__(self, name: str, store: LeaseStore, clock: ManualClock, seed: int) -> None:
        self.name = name
        self.clock = clock
        self.link = Link(store, clock, Random(seed))
        self.acting = False
        self.lost_count = 0
        self.rng = Random(seed + 1)
        self.elector = self.new_elector()
        self.task: asyncio.Task[None] | None = None

    def new_elector(self) -> LeaderElector:
        return LeaderElector(
            self.link, name="lease", identity=self.name, clock=self.clock, rng=self.rng
        )

    def start(self) -> None:
        self.task = asyncio.ensure_future(self._live())

    async def stop(self) -> None:
        assert self.task
        self.task.cancel()
        while not self.task.done():  # giving the Lease back takes its time
            await self.clock.advance(0.1)

    async def _live(self) -> None:
        while True:
            self.elector = self.new_elector()
            try:
                await self.elector.run(self._act)
            except LeadershipLostError:
                self.lost_count += 1

    async def _act(self) -> None:
        self.acting = True
        try:
            while True:
                await self.clock.sleep(3600)
        finally:
            self.acting = False


Cluster = tuple[LeaseStore, ManualClock, list[Candidate]]


@pytest.fixture
async def cluster() -> AsyncIterator[Callable[..., Cluster]]:
    made: list[Candidate] = []

    def make(count: int, seed: int = 1) -> Cluster:
        store, clock = LeaseStore(), ManualClock()
        candidates = [Candidate(f"c{i}", store, clock, seed * 100 + i) for i in range(count)]
        for candidate in candidates:
            candidate.start()
        made.extend(candidates)
        return store, clock, candidates

    yield make
    for candidate in made:
        await candidate.stop()


def acting(candidates: list[Candidate]) -> list[str]:
    return [candidate.name for candidate in candidates if candidate.acting]


async def test_one_acts_and_keeps_the_lease_while_it_renews(
    cluster: Callable[..., Cluster],
) -> None:
    store, clock, candidates = cluster(3)
    await clock.advance(5)
    first = acting(candidates)
    assert len(first) == 1
    await clock.advance(120)
    assert acting(candidates) == first
    assert set(store.writes) == set(first)
    spec = store.read()["spec"]
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 0
    assert spec["renewTime"] > spec["acquireTime"]


async def test_a_dead_holder_is_replaced_after_the_lease_duration(
    cluster: Callable[..., Cluster],
) -> None:
    store, clock, candidates = cluster(2)
    await clock.advance(5)
    (first,) = acting(candidates)
    dead = next(c for c in candidates if c.name == first)
    other = next(c for c in candidates if c.name != first)
    dead.link.cut = True
    await clock.advance(14)
    assert not other.acting
    await clock.advance(6)
    assert acting(candidates) == [other.name]
    assert dead.lost_count == 1
    assert store.read()["spec"]["leaseTransitions"] == 1


async def test_a_holder_that_stops_cleanly_hands_over_at_once(
    cluster: Callable[..., Cluster],
) -> None:
    _, clock, candidates = cluster(2)
    await clock.advance(5)
    (first,) = acting(candidates)
    holder = next(c for c in candidates if c.name == first)
    other = next(c for c in candidates if c.name != first)
    await holder.stop()
    await clock.advance(3)
    assert other.acting


async def test_a_lease_that_somebody_else_took_ends_the_work_at_once(
    cluster: Callable[..., Cluster],
) -> None:
    store, clock, candidates = cluster(1)
    await clock.advance(3)
    assert acting(candidates) == ["c0"]
    stolen = store.read()
    stolen["spec"]["holderIdentity"] = "thief"
    store.write(stolen, create=False)
    await clock.advance(3)
    assert acting(candidates) == []


async def test_the_fence_falls_with_the_deadline_even_before_the_work_has_ended(
    cluster: Callable[..., Cluster],
) -> None:
    _, clock, candidates = cluster(1)
    await clock.advance(3)
    elector = candidates[0].elector
    assert 0 < elector.fence() <= 10
    candidates[0].link.cut = True
    # As if the process had been stopped: time passes, no task runs.
    clock._elapsed_s += 11
    with pytest.raises(LeadershipLostError):
        elector.fence()
    assert not elector.is_leading()
    await settle()


async def test_wall_clocks_do_not_matter(cluster: Callable[..., Cluster]) -> None:
    _, clock, candidates = cluster(2)
    await clock.advance(5)
    first = acting(candidates)
    for jump_s in (7200, -86400, 30):
        clock.jump_wall(jump_s)
        await clock.advance(20)
        assert acting(candidates) == first


@pytest.mark.sim
@pytest.mark.parametrize("seed", range(40))
async def test_two_never_act_at_once_whatever_fails(
    seed: int, cluster: Callable[..., Cluster]
) -> None:
    rng = Random(seed)
    store, clock, candidates = cluster(3, seed)
    acted: set[str] = set()
    for _ in range(60):
        victim = rng.choice(candidates)
        victim.link.cut = rng.random() < 0.4
        victim.link.fault = rng.choice([0, 0, 0.3, 0.8])
        victim.link.delay_s_max = rng.choice([0, 0, 1, 6, 20])
        if rng.random() < 0.1:
            await victim.stop()
            victim.start()
        clock.jump_wall(rng.choice([0, 0, -1000, 1000]))
        for _ in range(8):
            await clock.advance(rng.random() * 2)
            assert len(acting(candidates)) <= 1, f"seed {seed}: {acting(candidates)}"
            assert sum(c.elector.is_leading() for c in candidates) <= 1, f"seed {seed}"
            acted.update(acting(candidates))
    for candidate in candidates:  # faults off: somebody must act again
        candidate.link.cut, candidate.link.fault, candidate.link.delay_s_max = False, 0.0, 0.0
    await clock.advance(60)
    assert len(acting(candidates)) == 1, f"seed {seed}"
    assert acted
    assert store.writes


@pytest.mark.parametrize(
    ("durations", "message"),
    [
        pytest.param({"renew_deadline_s": 15}, "lease duration .* must be greater", id="deadline"),
        pytest.param({"retry_period_s": 9}, "must be greater than renew deadline", id="retry"),
        pytest.param({"identity": ""}, "must not be empty", id="identity"),
    ],
)
async def test_durations_must_leave_room(durations: dict[str, Any], message: str) -> None:
    link = Link(LeaseStore(), ManualClock(), Random(0))
    with pytest.raises(ValueError, match=message):
        LeaderElector(link, name="lease", **{"identity": "c", **durations})
