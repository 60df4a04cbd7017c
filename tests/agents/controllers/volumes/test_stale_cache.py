"""Whatever the caches lack and whenever the binder dies: no volume has two claims, none is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.volumes.binder import VolumeBinder
from kubraft.api import storage
from kubraft.api.errors import ApiError
from kubraft.api.gvk import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM
from kubraft.api.object import Object, ObjectKey, key_of, uid_of
from tests.agents.controllers.lagging_api import LaggingApi
from tests.agents.volume_objects import claim, volume

STEPS = ("claim", "volume", "deliver", "restart", "new claim", "delete claim")


class World:
    """A binder that sees late, and users who make and delete claims."""

    def __init__(self, volumes: int) -> None:
        self.api = LaggingApi()
        self.binder = VolumeBinder(self.api.context())
        self.count = 0
        for number in range(volumes):
            self.api.put(volume(f"v{number}", f"{number + 1}Gi"))

    def claims(self) -> list[Object]:
        return self.api.of_kind(PERSISTENT_VOLUME_CLAIM)

    def volumes(self) -> list[Object]:
        return self.api.of_kind(PERSISTENT_VOLUME)

    async def step(self, what: str, rng: Random) -> None:
        match what:
            case "deliver":
                self.api.deliver(rng.randint(1, 3))
            case "restart":  # a new process lists everything
                self.api.deliver_all()
                self.binder = VolumeBinder(self.api.context())
            case "new claim":
                self.count += 1
                name = f"c{rng.randint(0, 2)}"
                if self.find(name) is None:
                    self.api.put(claim(name, uid=f"uid-{self.count}"))
            case "delete claim":
                if found := self.claims():
                    gone = rng.choice(found)
                    self.api.remove((PERSISTENT_VOLUME_CLAIM, key_of(gone)))
            case "claim":
                await self.reconcile_claim(f"c{rng.randint(0, 2)}")
            case "volume":
                await self.reconcile_volume(key_of(rng.choice(self.volumes())))
        self.check()

    def find(self, name: str) -> Object | None:
        return self.api.objects.get((PERSISTENT_VOLUME_CLAIM, ObjectKey("default", name)))

    async def reconcile_claim(self, name: str) -> None:
        with suppress(ApiError):
            await self.binder.reconcile_claim(ObjectKey("default", name))

    async def reconcile_volume(self, key: ObjectKey) -> None:
        with suppress(ApiError):
            await self.binder.reconcile_volume(key)

    def check(self) -> None:
        """What must hold at every moment."""
        holders: dict[str, str] = {}
        for each in self.claims():
            if name := each["spec"].get("volumeName"):
                assert name not in holders, f"{name} has two claims"
                holders[name] = uid_of(each)
                held = self.api.objects[(PERSISTENT_VOLUME, ObjectKey("", name))]
                assert held["spec"]["claimRef"]["uid"] == uid_of(each), "given away twice"
        for each in self.volumes():
            if storage.phase_of(each) == "Released":
                assert uid_of(each) not in holders

    async def settle(self) -> None:
        for _round in range(8):
            self.api.deliver_all()
            for each in self.claims():
                await self.reconcile_claim(each["metadata"]["name"])
            self.api.deliver_all()
            for each in self.volumes():
                await self.reconcile_volume(key_of(each))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    volumes=st.integers(1, 4),
    steps=st.lists(st.sampled_from(STEPS), max_size=50),
)
def test_no_volume_has_two_claims(seed: int, volumes: int, steps: list[str]) -> None:
    async def run() -> None:
        world, rng = World(volumes), Random(seed)
        for step in steps:
            await world.step(step, rng)
        await world.settle()
        world.check()
        bound = [each for each in world.claims() if storage.phase_of(each) == "Bound"]
        free = [each for each in world.volumes() if storage.phase_of(each) == "Available"]
        assert len(bound) == len(world.claims()) or not free, "a volume and a claim were left"
        assert len([v for v in world.volumes() if storage.phase_of(v) == "Bound"]) == len(bound)

    asyncio.run(run())
