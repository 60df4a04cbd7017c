import pytest

from apiserver.admission.rbac_escalation import RbacEscalation
from apiserver.authz import Authorizer
from kubraft.api.errors import ForbiddenError, NotFoundError
from kubraft.api.object import Object
from tests.apiserver.admission.requests import request
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import MASTER, binding, cluster_role, role, rule, user

RBAC = "rbac.authorization.k8s.io"
ADA = user("ada", "dev")


def cluster(*held: dict[str, object]) -> MemoryCluster:
    return MemoryCluster(
        cluster_role("held", *held),
        cluster_role("reader", rule("get", "pods")),
        cluster_role("root", rule("*", "*", "*")),
        role("local", rule("get", "secrets")),
        binding("held", "User/ada", namespace="shop"),
    )


async def write(
    obj: Object, *held: dict[str, object], old: Object | None = None, who: object = ADA
) -> None:
    plugin = RbacEscalation(Authorizer(cluster(*held)))
    asked = request(obj, old=old, user=who)  # type: ignore[arg-type]
    if plugin.handles(asked):
        await plugin.validate(asked)


PODS = rule("get list", "pods")


@pytest.mark.parametrize(
    ("held", "obj"),
    [
        pytest.param([PODS], role("r", rule("get", "pods")), id="a role of what is held"),
        pytest.param(
            [rule("escalate", "roles", RBAC)], role("r", rule("*", "*", "*")), id="escalate"
        ),
        pytest.param([PODS], binding("reader", "User/bob", namespace="shop"), id="what is held"),
        pytest.param(
            [rule("bind", "clusterroles", RBAC, names="root")],
            binding("root", "User/bob", namespace="shop"),
            id="bind by name",
        ),
        pytest.param(
            [rule("bind", "roles", RBAC)],
            binding("local", "User/bob", namespace="shop", kind="Role"),
            id="bind a Role",
        ),
    ],
)
async def test_what_one_has_one_may_give(held: list[dict[str, object]], obj: Object) -> None:
    await write(obj, *held)


@pytest.mark.parametrize(
    ("held", "obj"),
    [
        pytest.param([PODS], role("r", rule("delete", "pods")), id="another verb"),
        pytest.param([PODS], role("r", rule("get", "pods"), namespace="bank"), id="elsewhere"),
        pytest.param([PODS], cluster_role("c", rule("get", "pods")), id="everywhere"),
        pytest.param(
            [rule("*", "*", "*")],
            cluster_role("c", aggregationRule={"clusterRoleSelectors": [{}]}),
            id="a role that aggregates",
        ),
        pytest.param([PODS], binding("reader", "User/bob"), id="a binding everywhere"),
        pytest.param([PODS], binding("root", "User/bob", namespace="shop"), id="a greater role"),
        pytest.param(
            [rule("bind", "clusterroles", RBAC, names="reader")],
            binding("root", "User/bob", namespace="shop"),
            id="bind of another role",
        ),
    ],
)
async def test_what_one_lacks_one_cannot_give(held: list[dict[str, object]], obj: Object) -> None:
    with pytest.raises(ForbiddenError, match="attempting to grant RBAC permissions not currently"):
        await write(obj, *held)


async def test_the_refusal_lists_what_is_missing() -> None:
    with pytest.raises(ForbiddenError) as refusal:
        await write(role("r", rule("get delete", "pods secrets")), PODS)
    assert refusal.value.message == (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "ada" '
        '(groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not '
        "currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'
    )


async def test_masters_and_unchanged_rules_are_not_asked() -> None:
    greater = role("r", rule("*", "*", "*"))
    await write(greater, who=MASTER)
    await write({**greater, "metadata": {**greater["metadata"], "labels": {}}}, old=greater)
    bound = binding("root", "User/bob", namespace="shop")
    await write(bound, old=bound)
    with pytest.raises(ForbiddenError):
        await write({**bound, "subjects": [{"kind": "User", "name": "ada"}]}, old=bound)


async def test_a_binding_to_a_role_that_is_not_there() -> None:
    with pytest.raises(NotFoundError) as refusal:
        await write(binding("none", "User/bob", namespace="shop"), PODS)
    assert refusal.value.message == ('clusterroles.rbac.authorization.k8s.io "none" not found')
