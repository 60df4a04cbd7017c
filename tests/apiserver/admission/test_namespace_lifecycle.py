import pytest

from apiserver.admission import Operation
from apiserver.admission.namespace_lifecycle import RECENTLY_DELETED_S, NamespaceLifecycle
from kubraft.api.errors import ForbiddenError, NotFoundError
from kubraft.api.object import Object
from kubraft.api.time import ManualClock
from tests.apiserver.admission.requests import context, request
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import cluster_scoped, namespaced

POD = namespaced("Pod", "web")
ACTIVE = cluster_scoped("Namespace", "shop", status={"phase": "Active"})
ENDING = cluster_scoped("Namespace", "shop", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})


async def test_a_namespace_must_exist() -> None:
    plugin = NamespaceLifecycle(context(MemoryCluster()))
    with pytest.raises(NotFoundError) as refusal:
        await plugin.mutate(request(POD))
    assert refusal.value.message == 'namespaces "shop" not found'
    assert (refusal.value.kind, refusal.value.name) == ("namespaces", "shop")


@pytest.mark.parametrize(
    "namespace",
    [
        pytest.param(ENDING, id="by its deletion timestamp"),
        pytest.param(
            cluster_scoped("Namespace", "shop", status={"phase": "Terminating"}), id="by its phase"
        ),
    ],
)
async def test_nothing_new_begins_in_a_namespace_that_ends(namespace: Object) -> None:
    plugin = NamespaceLifecycle(context(MemoryCluster(namespace)))
    with pytest.raises(ForbiddenError) as refusal:
        await plugin.mutate(request(POD))
    assert refusal.value.message == (
        'pods "web" is forbidden: unable to create new content in namespace shop because it is '
        "being terminated"
    )
    assert [c.reason for c in refusal.value.causes] == ["NamespaceTerminating"]
    await plugin.mutate(request(POD, old=POD))


def test_deletion_and_cluster_scope_are_not_asked() -> None:
    plugin = NamespaceLifecycle(context(MemoryCluster()))
    assert not plugin.handles(request(None, old=POD))
    assert not plugin.handles(request(cluster_scoped("Node", "node-0")))
    assert not plugin.handles(request(ACTIVE))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_stay(name: str) -> None:
    plugin = NamespaceLifecycle(context(MemoryCluster()))
    deletion = request(None, old=cluster_scoped("Namespace", name))
    assert plugin.handles(deletion)
    with pytest.raises(ForbiddenError) as refusal:
        await plugin.mutate(deletion)
    assert refusal.value.message == (
        f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    )


async def test_a_namespace_that_only_the_store_knows_counts() -> None:
    cluster = MemoryCluster()
    cluster.hold_cache = True
    cluster.put(ACTIVE)
    await NamespaceLifecycle(context(cluster)).mutate(request(POD))


async def test_after_its_deletion_a_namespace_is_read_from_the_store() -> None:
    cluster = MemoryCluster(ACTIVE)
    given = context(cluster)
    assert isinstance(given.clock, ManualClock)
    plugin = NamespaceLifecycle(given)
    await plugin.mutate(request(None, old=ACTIVE, operation=Operation.DELETE))
    cluster.hold_cache = True
    cluster.put(ENDING)
    with pytest.raises(ForbiddenError):
        await plugin.mutate(request(POD))
    await given.clock.advance(RECENTLY_DELETED_S)
    await plugin.mutate(request(POD))  # the cache is trusted again
