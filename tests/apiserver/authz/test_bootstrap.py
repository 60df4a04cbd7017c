import copy

import pytest

from apiserver.authz import Attributes, Authorizer
from apiserver.authz.bootstrap import ensure_bootstrap_policy, reconciled
from apiserver.authz.bootstrap_policy import AUTOUPDATE, bootstrap_objects
from apiserver.user import User
from kubraft.api.gvk import CLUSTER_ROLE
from kubraft.api.object import Object
from tests.apiserver.memory import MemoryCluster, MemoryWriter


def wanted(name: str, kind: str = "ClusterRole") -> Object:
    return next(
        o for o in bootstrap_objects() if (o["kind"], o["metadata"]["name"]) == (kind, name)
    )


async def test_an_empty_cluster_gets_all_and_a_second_start_writes_nothing() -> None:
    cluster = MemoryCluster()
    writer = MemoryWriter(cluster)
    assert await ensure_bootstrap_policy(cluster, writer) == len(bootstrap_objects())
    assert await ensure_bootstrap_policy(cluster, writer) == 0
    decision = Authorizer(cluster).authorize(
        Attributes(User("system:kube-scheduler"), "watch", resource="pods")
    )
    assert decision.allowed


async def test_two_servers_may_start_at_once() -> None:
    cluster = MemoryCluster()
    cluster.hold_cache = True  # neither sees what the other wrote
    writer = MemoryWriter(cluster)
    await ensure_bootstrap_policy(cluster, writer)
    assert await ensure_bootstrap_policy(cluster, writer) == 0
    assert len(cluster.stored[CLUSTER_ROLE]) == len(
        [o for o in bootstrap_objects() if o["kind"] == "ClusterRole"]
    )


def test_what_was_taken_away_comes_back_and_what_was_added_stays() -> None:
    role = wanted("system:basic-user")
    changed = copy.deepcopy(role)
    own = {"apiGroups": [""], "resources": ["widgets"], "verbs": ["get"]}
    changed["rules"] = [changed["rules"][0], own]
    mended = reconciled(changed, role)
    assert mended is not None
    assert mended["rules"] == [*changed["rules"], role["rules"][1]]


def test_a_subject_that_was_taken_away_comes_back() -> None:
    bound = wanted("system:discovery", "ClusterRoleBinding")
    changed = {**bound, "subjects": [{"kind": "User", "name": "ada"}]}
    mended = reconciled(changed, bound)
    assert mended is not None
    assert mended["subjects"] == [*changed["subjects"], *bound["subjects"]]


@pytest.mark.parametrize("name", ["cluster-admin", "admin", "system:node"])
def test_what_is_whole_is_not_written(name: str) -> None:
    assert reconciled(wanted(name), wanted(name)) is None


def test_who_switched_reconciling_off_is_left_alone() -> None:
    role = wanted("edit")
    changed = copy.deepcopy(role)
    changed["metadata"]["annotations"] = {AUTOUPDATE: "false"}
    changed["rules"] = []
    changed["aggregationRule"] = None
    assert reconciled(changed, role) is None


def test_no_rule_names_a_thing_twice_and_all_names_are_unique() -> None:
    objects = bootstrap_objects()
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))
    for obj in objects:
        for rule in obj.get("rules", ()):
            for field in ("verbs", "resources", "apiGroups", "nonResourceURLs"):
                values = rule.get(field, [])
                assert len(values) == len(set(values)), (obj["metadata"]["name"], rule)
