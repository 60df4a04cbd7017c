import time

import pytest

from apiserver.authz import Attributes, Authorizer
from apiserver.authz.bootstrap_policy import bootstrap_objects
from apiserver.user import User
from kubraft.api.object import Object
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import MASTER, binding, cluster_role, role, rule, user

ADA = user("ada", "dev")
BOB = user("bob")
ROBOT = user("system:serviceaccount:shop:robot", "system:serviceaccounts")


def may(authorizer: Authorizer, who: User, text: str, namespace: str = "shop") -> bool:
    verb, _, target = text.partition(" ")
    if target.startswith("/"):
        return authorizer.authorize(Attributes(who, verb, path=target)).allowed
    target, _, name = target.partition(":")
    resource, _, group = target.partition(".")
    resource, _, subresource = resource.partition("/")
    attributes = Attributes(
        who, verb, group, "v1", resource, subresource, namespace, name
    )  # fmt: skip
    return authorizer.authorize(attributes).allowed


def test_nothing_is_allowed_where_nothing_says_so() -> None:
    authorizer = Authorizer(MemoryCluster())
    for who in (ADA, BOB, ROBOT):
        assert not may(authorizer, who, "get pods:a")
        assert not may(authorizer, who, "get /healthz")


def test_masters_may_do_all_even_without_a_role() -> None:
    assert may(Authorizer(MemoryCluster()), MASTER, "delete nodes:a", "")


@pytest.mark.parametrize(
    ("bound", "who", "namespace", "allowed"),
    [
        pytest.param(binding("r", "User/ada"), ADA, "shop", True, id="cluster-wide, in one"),
        pytest.param(binding("r", "User/ada"), ADA, "", True, id="cluster-wide, over all"),
        pytest.param(binding("r", "Group/dev"), ADA, "shop", True, id="by a group"),
        pytest.param(binding("r", "Group/dev"), BOB, "shop", False, id="not in the group"),
        pytest.param(binding("r", "User/dev"), ADA, "shop", False, id="a user is no group"),
        pytest.param(
            binding("r", "User/ada", namespace="shop"), ADA, "shop", True, id="in a namespace"
        ),
        pytest.param(
            binding("r", "User/ada", namespace="shop"), ADA, "bank", False, id="in another one"
        ),
        pytest.param(
            binding("r", "User/ada", namespace="shop"), ADA, "", False, id="over all of them"
        ),
        pytest.param(
            binding("r", "ServiceAccount/shop/robot"), ROBOT, "bank", True, id="ServiceAccount"
        ),
        pytest.param(
            binding("r", "ServiceAccount//robot", namespace="shop"),
            ROBOT,
            "shop",
            True,
            id="ServiceAccount of the binding's own namespace",
        ),
        pytest.param(
            binding("r", "ServiceAccount/bank/robot"), ROBOT, "bank", False, id="another account"
        ),
        pytest.param(binding("none", "User/ada"), ADA, "shop", False, id="no such role"),
        pytest.param(
            binding("local", "User/ada", namespace="shop", kind="Role"), ADA, "shop", True,
            id="a Role",
        ),
        pytest.param(
            binding("local", "User/ada", namespace="bank", kind="Role"), ADA, "bank", False,
            id="a Role of another namespace",
        ),
        pytest.param(
            binding("local", "User/ada"), ADA, "shop", False, id="a Role bound cluster-wide"
        ),
    ],
)  # fmt: skip
def test_a_binding_grants(bound: Object, who: User, namespace: str, allowed: bool) -> None:
    cluster = MemoryCluster(
        cluster_role("r", rule("get", "pods")), role("local", rule("get", "pods"))
    )
    cluster.put(bound)
    assert may(Authorizer(cluster), who, "get pods:a", namespace) is allowed


def test_changes_count_at_once() -> None:
    cluster = MemoryCluster()
    authorizer = Authorizer(cluster)
    assert not may(authorizer, ADA, "get pods:a")
    granted = cluster.put(binding("r", "User/ada"))
    assert not may(authorizer, ADA, "get pods:a")
    cluster.put(cluster_role("r", rule("get", "pods")))
    assert may(authorizer, ADA, "get pods:a")
    cluster.put(cluster_role("r", rule("get", "secrets")))
    assert not may(authorizer, ADA, "get pods:a")
    assert may(authorizer, ADA, "get secrets:a")
    cluster.remove(granted)
    assert not may(authorizer, ADA, "get secrets:a")


def test_a_role_aggregates_what_its_selectors_find_however_deep() -> None:
    def selecting(label: str) -> dict[str, object]:
        return {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}

    cluster = MemoryCluster(
        cluster_role("top", aggregationRule=selecting("to-top")),
        cluster_role("mid", labels={"to-top": "true"}, aggregationRule=selecting("to-mid")),
        cluster_role("leaf", rule("get", "pods"), labels={"to-mid": "true"}),
        cluster_role("other", rule("get", "secrets")),
        binding("top", "User/ada"),
    )
    authorizer = Authorizer(cluster)
    assert may(authorizer, ADA, "get pods:a")
    assert not may(authorizer, ADA, "get secrets:a")
    cluster.put(cluster_role("late", rule("get", "secrets"), labels={"to-top": "true"}))
    assert may(authorizer, ADA, "get secrets:a")


def test_roles_that_aggregate_each_other_end() -> None:
    both = {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}
    cluster = MemoryCluster(
        cluster_role("a", rule("get", "pods"), labels={"x": "y"}, aggregationRule=both),
        cluster_role("b", rule("get", "secrets"), labels={"x": "y"}, aggregationRule=both),
        binding("a", "User/ada"),
    )
    assert may(Authorizer(cluster), ADA, "get secrets:a")


SCHEDULER = user("system:kube-scheduler")
CONTROLLERS = user("system:kube-controller-manager")
# Rows: what is asked. Columns: view, edit, admin, cluster-admin, scheduler, controllers, nobody.
MATRIX = """
get pods:a                                            y y y y y y -
list pods                                             y y y y y y -
get pods/log:a                                        y y y y - y -
create pods                                           - y y y - y -
delete pods:a                                         - y y y y y -
create pods/exec                                      - y y y - - -
create pods/binding                                   - - - y y y -
update pods/status:a                                  - - - y y y -
get secrets:a                                         - y y y - y -
create secrets                                        - y y y - y -
get configmaps:a                                      y y y y - y -
create configmaps                                     - y y y - y -
get serviceaccounts:a                                 y y y y - y -
create serviceaccounts/token                          - y y y - y -
get deployments.apps:a                                y y y y - y -
update deployments.apps:a                             - y y y - y -
update deployments.apps/status:a                      - - - y - y -
create replicasets.apps                               - y y y - y -
get replicasets.apps:a                                y y y y y y -
get events:a                                          y y y y - y -
create events                                         - y y y y y -
get leases.coordination.k8s.io:kube-scheduler         - y y y y y -
update leases.coordination.k8s.io:kube-scheduler      - y y y y y -
update leases.coordination.k8s.io:other               - y y y - y -
get limitranges:a                                     y y y y - y -
create limitranges                                    - - - y - - -
get resourcequotas:a                                  y y y y - y -
update resourcequotas/status:a                        - - - y - y -
get namespaces:shop                                   y y y y y y -
get roles.rbac.authorization.k8s.io:a                 - - y y - y -
create rolebindings.rbac.authorization.k8s.io         - - y y - - -
create clusterrolebindings.rbac.authorization.k8s.io  - - - y - - -
bind clusterroles.rbac.authorization.k8s.io:admin     - - - y - - -
escalate roles.rbac.authorization.k8s.io:a            - - - y - - -
create selfsubjectaccessreviews.authorization.k8s.io  y y y y y y y
get /healthz                                          y y y y y y y
get /metrics                                          - - - y - - -
"""


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, id=line.rsplit(maxsplit=7)[0]) for line in MATRIX.strip().split("\n")],
)
def test_the_default_roles(line: str) -> None:
    what, *expected = line.rsplit(maxsplit=7)
    people = [user(name) for name in ("v", "e", "a", "root")]
    cluster = MemoryCluster(*bootstrap_objects())
    for who, name in zip(people, ("view", "edit", "admin"), strict=False):
        cluster.put(binding(name, f"User/{who.name}", namespace="shop"))
    root = binding("cluster-admin", "User/root")
    root["metadata"]["name"] = "root"
    cluster.put(root)
    authorizer = Authorizer(cluster)
    everybody = [*people, SCHEDULER, CONTROLLERS, user("nobody")]
    assert ["y" if may(authorizer, who, what) else "-" for who in everybody] == expected


def test_the_scheduler_works_in_all_namespaces_and_controllers_over_all_kinds() -> None:
    authorizer = Authorizer(MemoryCluster(*bootstrap_objects()))
    assert may(authorizer, SCHEDULER, "watch pods", "")
    assert may(authorizer, SCHEDULER, "watch nodes", "")
    assert may(authorizer, CONTROLLERS, "watch widgets.example.com", "")
    assert may(authorizer, CONTROLLERS, "delete widgets.example.com:a", "shop")
    assert may(authorizer, CONTROLLERS, "update namespaces/finalize:shop", "")


def test_a_question_costs_microseconds_among_a_thousand_bindings() -> None:
    cluster = MemoryCluster(*bootstrap_objects())
    for number in range(1_000):
        namespace = f"ns-{number}"
        cluster.put(role("r", rule("get list", "pods"), namespace=namespace))
        bound = binding("r", f"User/user-{number}", "Group/dev", namespace=namespace, kind="Role")
        cluster.put(bound)
    authorizer = Authorizer(cluster)
    who = user("user-7")
    assert may(authorizer, who, "get pods:warm", "ns-7")
    started = time.perf_counter()
    for number in range(2_000):
        assert may(authorizer, who, f"get pods:a-{number}", "ns-7")
    elapsed_us = (time.perf_counter() - started) / 2_000 * 1e6
    assert elapsed_us < 500  # about 10 us on an idle machine; this one may be busy
