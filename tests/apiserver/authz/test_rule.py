import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.authz.attributes import Attributes, forbidden_error
from apiserver.authz.rule import Rule, parse_rules, uncovered
from apiserver.user import User
from tests.apiserver.objects import rule

ADA = User("ada")


def action(text: str) -> Attributes:
    """ "get apps/deployments/scale:web" or "get /healthz"."""
    verb, _, target = text.partition(" ")
    if target.startswith("/"):
        return Attributes(ADA, verb, path=target)
    target, _, name = target.partition(":")
    group, resource, *rest = target.split("/") if target.count("/") else ("", target)
    return Attributes(
        ADA, verb, group=group if group != "core" else "", resource=resource,
        subresource="".join(rest), namespace="shop", name=name,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("granted", "allowed", "denied"),
    [
        pytest.param(
            rule("get list", "pods"),
            ["get core/pods:a", "list core/pods"],
            ["watch core/pods", "get core/pods/log:a", "get core/secrets:a", "get apps/pods:a"],
            id="verbs and resources",
        ),
        pytest.param(
            rule("get", "pods/log"),
            ["get core/pods/log:a"],
            ["get core/pods:a", "get core/pods/exec:a"],
            id="a subresource is not its resource",
        ),
        pytest.param(
            rule("get", "*/scale", "apps"),
            ["get apps/deployments/scale:a", "get apps/replicasets/scale:a"],
            ["get apps/deployments:a", "get core/deployments/scale:a"],
            id="a subresource of any resource",
        ),
        pytest.param(
            rule("get", "*"),
            ["get core/pods:a", "get core/pods/log:a"],
            ["get apps/deployments:a", "delete core/pods:a", "get /healthz"],
            id="any resource of a group",
        ),
        pytest.param(
            rule("*", "*", "*"),
            ["delete apps/deployments/status:a", "anything x/y:z"],
            ["get /healthz"],
            id="all resources are no URLs",
        ),
        pytest.param(
            rule("get delete", "configmaps", names="a b"),
            ["get core/configmaps:a", "delete core/configmaps:b"],
            ["get core/configmaps:c", "get core/configmaps"],
            id="names",
        ),
        pytest.param(
            {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]},
            ["get /healthz", "get /apis/apps/v1"],
            ["get /healthz/x", "get /apis", "post /healthz", "get core/pods"],
            id="URLs",
        ),
        pytest.param(
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ["get /x", "delete /"],
            ["get core/pods"],
            id="all URLs",
        ),
        pytest.param({}, [], ["get core/pods", "get /x"], id="nothing"),
    ],
)
def test_a_rule_allows(granted: dict[str, object], allowed: list[str], denied: list[str]) -> None:
    (parsed,) = parse_rules([granted])
    assert [text for text in allowed if not parsed.allows(action(text))] == []
    assert [text for text in denied if parsed.allows(action(text))] == []


@pytest.mark.parametrize(
    ("held", "wanted", "missing"),
    [
        pytest.param(rule("get list", "pods"), rule("get", "pods"), "", id="a part"),
        pytest.param(rule("*", "*", "*"), rule("get", "pods/log", "apps"), "", id="all"),
        pytest.param(rule("*", "pods"), rule("*", "pods"), "", id="the same star"),
        pytest.param(
            rule("get list watch", "pods"),
            rule("*", "pods"),
            '{APIGroups:[""], Resources:["pods"], Verbs:["*"]}',
            id="a star is more than all that is named",
        ),
        pytest.param(
            rule("get", "pods secrets"),
            rule("get", "*"),
            '{APIGroups:[""], Resources:["*"], Verbs:["get"]}',
            id="all resources",
        ),
        pytest.param(rule("get", "*/log"), rule("get", "pods/log"), "", id="any subresource"),
        pytest.param(
            rule("get", "pods"),
            rule("get", "pods/log"),
            '{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}',
            id="a subresource",
        ),
        pytest.param(
            rule("get", "configmaps", names="a b"), rule("get", "configmaps", names="b"), "",
            id="a named one",
        ),
        pytest.param(
            rule("get", "configmaps", names="a"),
            rule("get", "configmaps"),
            '{APIGroups:[""], Resources:["configmaps"], Verbs:["get"]}',
            id="one name is not all",
        ),
        pytest.param(
            rule("get", "pods"),
            {"verbs": ["get"], "nonResourceURLs": ["/x"]},
            '{NonResourceURLs:["/x"], Verbs:["get"]}',
            id="a URL",
        ),
    ],
)  # fmt: skip
def test_what_is_held_covers(
    held: dict[str, object], wanted: dict[str, object], missing: str
) -> None:
    found = uncovered(parse_rules([held]), parse_rules([wanted]))
    assert " ".join(map(str, found)) == missing


words = st.frozensets(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=2)
names = st.frozensets(st.sampled_from(["x", "y"]), max_size=2)
rules = st.builds(
    Rule,
    words,
    words,
    st.frozensets(st.sampled_from(["p", "p/s", "*/s", "q", "*"]), min_size=1, max_size=2),
    names,
)
actions = st.builds(
    Attributes,
    st.just(ADA),
    st.sampled_from(["a", "b", "c"]),
    group=st.sampled_from(["a", "b", "c"]),
    resource=st.sampled_from(["p", "q", "r"]),
    subresource=st.sampled_from(["", "s", "t"]),
    name=st.sampled_from(["", "x", "y", "z"]),
)


@given(st.lists(rules, max_size=3), rules, actions)
def test_what_is_covered_allows_nothing_more(
    held: list[Rule], wanted: Rule, attributes: Attributes
) -> None:
    if not uncovered(held, [wanted]) and wanted.allows(attributes):
        assert any(rule.allows(attributes) for rule in held)


@given(st.lists(rules, min_size=1, max_size=3))
def test_everybody_covers_what_they_hold(held: list[Rule]) -> None:
    assert uncovered(held, held) == []


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        pytest.param(
            Attributes(ADA, "list", resource="pods", namespace="ns"),
            'pods is forbidden: User "ada" cannot list resource "pods" in API group "" '
            'in the namespace "ns"',
            id="list",
        ),
        pytest.param(
            Attributes(ADA, "get", "apps", "v1", "deployments", "scale", "ns", "web"),
            'deployments.apps "web" is forbidden: User "ada" cannot get resource '
            '"deployments/scale" in API group "apps" in the namespace "ns"',
            id="a subresource",
        ),
        pytest.param(
            Attributes(ADA, "watch", resource="nodes"),
            'nodes is forbidden: User "ada" cannot watch resource "nodes" in API group "" '
            "at the cluster scope",
            id="cluster scope",
        ),
        pytest.param(
            Attributes(ADA, "get", path="/metrics"),
            'forbidden: User "ada" cannot get path "/metrics"',
            id="a URL",
        ),
    ],
)
def test_a_refusal_reads_as_upstream_says_it(attributes: Attributes, message: str) -> None:
    assert forbidden_error(attributes).message == message
    assert forbidden_error(attributes, "because").message == f"{message}: because"
