import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.admission import AdmissionContext
from apiserver.admission.quota_arithmetic import added, exceeded
from apiserver.admission.quota_charger import Charge, plan
from apiserver.admission.resource_quota import ResourceQuota
from kubraft.api.errors import (
    ApiError,
    ForbiddenError,
    InternalError,
    ServiceUnavailableError,
)
from kubraft.api.gvk import RESOURCE_QUOTA, GroupVersionKind
from kubraft.api.object import Object, ObjectKey
from kubraft.api.quantity import Quantity, from_milli, from_units
from kubraft.api.time import ManualClock
from tests.apiserver.admission.requests import context, request
from tests.apiserver.memory import MemoryCluster, MemoryWriter
from tests.apiserver.objects import cluster_scoped, namespaced


def quota(
    hard: dict[str, str], name: str = "q", used: dict[str, str] | None = None, **spec: Any
) -> Object:
    status = {"hard": hard, "used": used} if used is not None else {}
    return namespaced("ResourceQuota", name, spec={"hard": hard, **spec}, status=status)


def pod(name: str = "web", cpu: str = "", limit: str = "", **spec: Any) -> Object:
    resources: dict[str, Any] = {}
    if cpu:
        resources["requests"] = {"cpu": cpu}
    if limit:
        resources["limits"] = {"cpu": limit}
    container = {"name": "c", "resources": resources}
    return namespaced("Pod", name, spec={"containers": [container], **spec})


def used_in(cluster: MemoryCluster, name: str = "q") -> dict[str, str]:
    status = cluster.stored[RESOURCE_QUOTA][ObjectKey("shop", name)]["status"]
    assert status["hard"].keys() == status["used"].keys()
    used: dict[str, str] = status["used"]
    return used


async def create(plugin: ResourceQuota, obj: Object, **fields: Any) -> str:
    """ "" if admitted, else why not."""
    asked = request(obj, **fields)
    if not plugin.handles(asked):
        return ""
    try:
        await plugin.validate(asked)
    except ForbiddenError as error:
        return error.message.partition(" is forbidden: ")[2]
    return ""


@pytest.mark.parametrize(
    ("limits", "obj", "used", "why"),
    [
        pytest.param(
            quota({"pods": "2"}, used={"pods": "1"}), pod(), {"pods": "2"}, "", id="the last place"
        ),
        pytest.param(
            quota({"pods": "1"}, used={"pods": "1"}), pod(), {"pods": "1"},
            "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1", id="no place",
        ),
        pytest.param(
            quota({"cpu": "2", "pods": "9"}, used={"cpu": "1", "pods": "0"}), pod(cpu="2"),
            {"cpu": "1", "pods": "0"},
            "exceeded quota: q, requested: cpu=2, used: cpu=1, limited: cpu=2",
            id="only what is exceeded is named",
        ),
        pytest.param(
            quota({"requests.cpu": "1", "limits.cpu": "2"},
                  used={"requests.cpu": "0", "limits.cpu": "0"}),
            pod(cpu="500m", limit="1500m"), {"requests.cpu": "500m", "limits.cpu": "1500m"}, "",
            id="requests and limits",
        ),
        pytest.param(
            quota({"limits.cpu": "2"}, used={"limits.cpu": "0"}), pod(cpu="1"), {"limits.cpu": "0"},
            "failed quota: q: must specify limits.cpu for: c", id="a limit must be said",
        ),
        pytest.param(
            quota({"cpu": "2", "memory": "1Gi"}, used={"cpu": "0", "memory": "0"}), pod(),
            {"cpu": "0", "memory": "0"},
            "failed quota: q: must specify cpu for: c; memory for: c", id="requests must be said",
        ),
        pytest.param(
            quota({"count/pods": "1"}, used={"count/pods": "1"}), pod(), {"count/pods": "1"},
            "exceeded quota: q, requested: count/pods=1, used: count/pods=1, limited: count/pods=1",
            id="counted",
        ),
        pytest.param(
            quota({"configmaps": "1"}, used={"configmaps": "0"}), namespaced("ConfigMap", "c"),
            {"configmaps": "1"}, "", id="ConfigMaps",
        ),
        pytest.param(
            quota({"count/secrets": "1"}, used={"count/secrets": "1"}),
            namespaced("Secret", "s"), {"count/secrets": "1"},
            "exceeded quota: q, requested: count/secrets=1, used: count/secrets=1, "
            "limited: count/secrets=1",
            id="Secrets counted",
        ),
        pytest.param(
            quota({"services": "1", "services.nodeports": "1"},
                  used={"services": "0", "services.nodeports": "0"}),
            namespaced("Service", "s", spec={"type": "NodePort", "ports": [{}, {}]}),
            {"services": "0", "services.nodeports": "0"},
            "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, "
            "limited: services.nodeports=1",
            id="node ports",
        ),
        pytest.param(
            quota({"pods": "0"}, used={"pods": "0"}, scopes=["Terminating"]), pod(),
            {"pods": "0"}, "", id="out of scope",
        ),
        pytest.param(
            quota({"pods": "0"}, used={"pods": "0"}, scopes=["NotTerminating", "BestEffort"]),
            pod(), {"pods": "0"},
            "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0", id="in scope",
        ),
        pytest.param(
            quota({"pods": "1"}, used={"pods": "5"}), namespaced("ConfigMap", "c"), {"pods": "5"},
            "", id="what is overrun already stops nothing else",
        ),
    ],
)  # fmt: skip
async def test_a_creation_is_charged_or_refused(
    limits: Object, obj: Object, used: dict[str, str], why: str
) -> None:
    cluster = MemoryCluster(limits)
    assert await create(ResourceQuota(context(cluster)), obj) == why
    assert used_in(cluster) == used


async def test_what_was_never_counted_is_counted_first() -> None:
    cluster = MemoryCluster(
        quota({"pods": "3", "cpu": "10"}),
        pod("old", cpu="2"),
        namespaced("Pod", "ended", spec={"containers": []}, status={"phase": "Succeeded"}),
    )
    plugin = ResourceQuota(context(cluster))
    assert await create(plugin, pod(cpu="1")) == ""
    assert used_in(cluster) == {"pods": "2", "cpu": "3"}


async def test_a_dry_run_is_judged_but_not_charged() -> None:
    cluster = MemoryCluster(quota({"pods": "1"}, used={"pods": "0"}))
    plugin = ResourceQuota(context(cluster))
    assert await create(plugin, pod(), dry_run=True) == ""
    assert used_in(cluster) == {"pods": "0"}
    await create(plugin, pod())
    assert "exceeded quota" in await create(plugin, pod("b"), dry_run=True)


async def test_a_service_that_changes_its_type_is_charged_the_difference() -> None:
    cluster = MemoryCluster(quota({"services": "1", "services.nodeports": "2"}, used={
        "services": "1", "services.nodeports": "0"}))  # fmt: skip
    plugin = ResourceQuota(context(cluster))
    plain = namespaced("Service", "s", spec={"type": "ClusterIP", "ports": [{}, {}]})
    open_ = namespaced("Service", "s", spec={"type": "NodePort", "ports": [{}, {}]})
    assert await create(plugin, open_, old=plain) == ""
    assert used_in(cluster) == {"services": "1", "services.nodeports": "2"}
    assert await create(plugin, plain, old=open_) == ""
    assert used_in(cluster) == {"services": "1", "services.nodeports": "0"}


def test_updates_subresources_and_cluster_scope_are_not_charged() -> None:
    plugin = ResourceQuota(context(MemoryCluster()))
    assert not plugin.handles(request(pod(), old=pod()))
    assert not plugin.handles(request(pod(), subresource="binding"))
    assert not plugin.handles(request(cluster_scoped("Node", "n")))
    assert not plugin.handles(request(None, old=pod()))


async def test_who_one_quota_refuses_fills_no_other() -> None:
    cluster = MemoryCluster(
        quota({"pods": "9"}, "a", used={"pods": "0"}), quota({"cpu": "1"}, "b", used={"cpu": "1"})
    )
    plugin = ResourceQuota(context(cluster))
    assert "exceeded quota: b" in await create(plugin, pod(cpu="1"))
    assert used_in(cluster, "a") == {"pods": "0"}


async def test_a_refusal_is_never_based_on_an_old_cache() -> None:
    cluster = MemoryCluster(quota({"pods": "1"}, used={"pods": "1"}))
    plugin = ResourceQuota(context(cluster))
    cluster.hold_cache = True
    cluster.put(quota({"pods": "1"}, used={"pods": "0"}))  # somebody gave it back
    assert await create(plugin, pod()) == ""


async def test_many_at_once_take_exactly_what_there_is_in_few_writes() -> None:
    cluster = MemoryCluster(quota({"pods": "50", "cpu": "100"}, used={"pods": "0", "cpu": "0"}))
    plugin = ResourceQuota(context(cluster))
    answers = await asyncio.gather(*(create(plugin, pod(f"p{n}", cpu="1")) for n in range(200)))
    assert answers.count("") == 50
    assert used_in(cluster) == {"pods": "50", "cpu": "50"}
    assert cluster.writes <= 3
    assert not plugin._charger._workers
    assert not plugin._charger._waiting


@pytest.mark.parametrize("servers", [2, 5])
async def test_several_api_servers_together_never_admit_too_many(servers: int) -> None:
    cluster = MemoryCluster(quota({"pods": "40"}, used={"pods": "0"}))
    cluster.hold_cache = True  # their caches know nothing of each other's writes
    plugins = [ResourceQuota(context(cluster)) for _ in range(servers)]
    answers = await asyncio.gather(
        *(create(plugins[n % servers], pod(f"p{n}")) for n in range(120))
    )
    assert answers.count("") == 40
    assert used_in(cluster) == {"pods": "40"}
    cluster.sync_cache()
    assert all(not plugin._charger._latest for plugin in plugins)


async def test_a_caller_that_goes_away_takes_nobody_along() -> None:
    cluster = MemoryCluster(quota({"pods": "5"}, used={"pods": "0"}))
    plugin = ResourceQuota(context(cluster))
    leaving = asyncio.create_task(create(plugin, pod("a")))
    staying = asyncio.create_task(create(plugin, pod("b")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == ""
    assert used_in(cluster)["pods"] in ("1", "2")


class BrokenWriter(MemoryWriter):
    async def update(self, obj: Object, subresource: str = "", *, dry_run: bool = False) -> Object:
        raise ServiceUnavailableError("etcdserver: no leader")


async def test_a_store_that_is_away_fails_the_request_and_leaves_no_worker() -> None:
    cluster = MemoryCluster(quota({"pods": "5"}, used={"pods": "0"}))
    plugin = ResourceQuota(AdmissionContext(cluster, BrokenWriter(cluster), ManualClock()))
    with pytest.raises(ServiceUnavailableError, match="no leader"):
        await plugin.validate(request(pod()))
    await asyncio.sleep(0)
    assert not plugin._charger._workers


def refusal(message: str) -> ApiError:
    return InternalError(message)


amounts = st.dictionaries(
    st.sampled_from(["cpu", "memory", "pods"]),
    st.integers(0, 5_000).map(from_milli),
    min_size=1,
)


@given(hard=amounts, deltas=st.lists(amounts, max_size=20))
def test_a_plan_fills_up_to_the_limit_and_not_beyond(
    hard: dict[str, Quantity], deltas: list[dict[str, Quantity]]
) -> None:
    limits = {name: str(amount) for name, amount in hard.items()}
    zero = dict.fromkeys(hard, from_units(0))
    charges = [Charge("shop", {"q": delta}, refusal) for delta in deltas]
    used, refused = plan(quota(limits), zero, charges)
    assert all(used[name] <= hard[name] for name in hard)
    out = {id(charge) for charge, _ in refused}
    admitted = [c.deltas["q"] for c in charges if id(c) not in out]
    for name in hard:
        total = sum(delta[name].nano for delta in admitted if name in delta)
        assert used[name].nano == total
    # Nobody is refused who would have fitted at the time.
    running = zero
    for charge in charges:
        over = exceeded(hard, running, charge.deltas["q"])
        assert bool(over) == (id(charge) in out)
        if not over:
            running = added(running, charge.deltas["q"])


@given(used=amounts, delta=amounts)
def test_what_is_added_and_given_back_is_gone(
    used: dict[str, Quantity], delta: dict[str, Quantity]
) -> None:
    back = {name: -amount for name, amount in delta.items()}
    assert added(added(used, delta), back) == used
    assert all(amount >= from_units(0) for amount in added(used, back).values())


async def test_kinds_that_come_and_go_are_counted_too() -> None:
    kind = GroupVersionKind("stable.example.com", "v1", "CronTab")
    name = "count/crontabs.stable.example.com"
    tab = {**namespaced("CronTab", "one"), "apiVersion": kind.api_version}
    cluster = MemoryCluster(quota({name: "2"}), tab)
    served = replace(context(cluster), kinds=lambda: [(kind, "crontabs")])
    plugin = ResourceQuota(served)
    two, three = (cluster_copy(tab, each) for each in ("two", "three"))
    assert await create(plugin, two, resource="crontabs") == ""
    assert used_in(cluster) == {name: "2"}
    assert "exceeded quota: q" in await create(plugin, three, resource="crontabs")


def cluster_copy(obj: Object, name: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "name": name}}
