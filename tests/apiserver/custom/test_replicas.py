"""Several API servers on one store: what one establishes, all of them serve."""

from __future__ import annotations

from apiserver.storage.memory_store import MemoryStore
from kubraft.api.conditions import is_true
from kubraft.api.gvk import CUSTOM_RESOURCE_DEFINITION as DEFINITION
from kubraft.api.gvk import GroupVersionKind
from tests.apiserver.custom.definitions import GROUP, crontab, definition, eventually
from tests.apiserver.harness import running_registry

NAME = f"crontabs.{GROUP}"
CRON_TAB = GroupVersionKind(GROUP, "v1", "CronTab")


class SharedStore(MemoryStore):
    """Outlives the servers on it."""

    async def close(self) -> None:
        pass


async def test_another_server_serves_a_kind_as_soon_as_it_is_established() -> None:
    store = SharedStore()
    async with running_registry(store) as other:
        async with running_registry(store) as first:
            await first.create(definition())

            async def established() -> bool:
                return is_true(await first.get(DEFINITION, NAME), "Established")

            await eventually(established)
            await other.registry.settle()
            assert other.registry.resources.find_plural(GROUP, "v1", "crontabs") is not None
            await other.create(crontab())
            assert (await first.get(CRON_TAB, "one"))["spec"]["replicas"] == 1
        # The one that made it is gone; a third begins with what is stored.
        await other.create(crontab("two"))
    async with running_registry(store) as third:
        assert (await third.get(CRON_TAB, "two"))["spec"]["replicas"] == 1
