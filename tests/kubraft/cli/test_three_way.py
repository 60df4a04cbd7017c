"""What `apply` sends, for what was applied, what is wanted and what is live."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubraft.api.object import Object
from kubraft.api.patch import merge_patch
from kubraft.cli.three_way import LAST_APPLIED, apply_patch, last_applied_of, with_last_applied


def manifest(spec: dict[str, Any], **metadata: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", **metadata},
        "spec": spec,
    }


def applied(last: Object, live_spec: dict[str, Any]) -> Object:
    """What is live after `last` was applied and others have made the spec `live_spec`."""
    live = with_last_applied(last)
    live["spec"] = live_spec
    live["metadata"]["resourceVersion"] = "7"
    live["status"] = {"replicas": 3}
    return live


def patched(last: dict[str, Any], wanted: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """The live spec after applying `wanted` where `last` was applied before."""
    found = applied(manifest(last), live)
    patch = apply_patch(last_applied_of(found), with_last_applied(manifest(wanted)), found)
    spec: dict[str, Any] = merge_patch(found, patch)["spec"]
    return spec


C = {"name": "c", "image": "v1"}
C_LIVE = {"name": "c", "image": "v1", "imagePullPolicy": "Always"}
SIDE = {"name": "side", "image": "s"}
PORT = {"containerPort": 80}
PORT_LIVE = {"containerPort": 80, "protocol": "TCP"}


@pytest.mark.parametrize(
    ("last", "wanted", "live", "expected"),
    [
        pytest.param(
            {"replicas": 1}, {"replicas": 3}, {"replicas": 1, "x": 1}, {"replicas": 3, "x": 1},
            id="what is said is set, what others set stays",
        ),
        pytest.param(
            {"replicas": 1, "paused": True}, {"replicas": 1}, {"replicas": 1, "paused": True},
            {"replicas": 1}, id="what is no longer said goes",
        ),
        pytest.param(
            {"replicas": 1}, {}, {"replicas": 5}, {}, id="even where others changed it since",
        ),
        pytest.param(
            {}, {}, {"replicas": 5}, {"replicas": 5}, id="what was never said stays",
        ),
        pytest.param(
            {"replicas": 1}, {"replicas": 1}, {"replicas": 5}, {"replicas": 1},
            id="what others changed is changed back",
        ),
        pytest.param(
            {"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"x": 1, "y": 2, "z": 3}},
            {"a": {"x": 1, "z": 3}}, id="the same at depth",
        ),
        pytest.param(
            {"a": {"x": 1}}, {"a": None}, {"a": {"x": 1}}, {}, id="null means leave out",
        ),
        pytest.param(
            {}, {"a": {"x": None, "y": 1}}, {}, {"a": {"y": 1}}, id="null in what is new",
        ),
        pytest.param(
            {}, {"a": {}, "b": []}, {}, {}, id="what is empty is not asked for again and again",
        ),
        pytest.param(
            {"args": ["a", "b"]}, {"args": ["a", "c"]}, {"args": ["a", "b"]}, {"args": ["a", "c"]},
            id="a list of plain values is replaced",
        ),
        pytest.param(
            {"containers": [C]}, {"containers": [{"name": "c", "image": "v2"}]},
            {"containers": [C_LIVE]},
            {"containers": [{"name": "c", "image": "v2", "imagePullPolicy": "Always"}]},
            id="a container keeps its defaults",
        ),
        pytest.param(
            {"containers": [C]}, {"containers": [C]}, {"containers": [SIDE, C_LIVE]},
            {"containers": [SIDE, C_LIVE]}, id="a container that others added stays in its place",
        ),
        pytest.param(
            {"containers": [C, SIDE]}, {"containers": [C]}, {"containers": [C_LIVE, SIDE]},
            {"containers": [C_LIVE]}, id="a container that is no longer said goes",
        ),
        pytest.param(
            {"containers": [C]}, {"containers": [SIDE, C]}, {"containers": [C_LIVE]},
            {"containers": [SIDE, C_LIVE]}, id="a new container comes where it is said",
        ),
        pytest.param(
            {"ports": [PORT]}, {"ports": [PORT, {"containerPort": 81}]}, {"ports": [PORT_LIVE]},
            {"ports": [PORT_LIVE, {"containerPort": 81}]},
            id="a port is known by its number, its protocol by default",
        ),
        pytest.param(
            {"ports": [{"port": 53, "protocol": "UDP"}]},
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
            {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 1}]},
            {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 1},
                       {"port": 53, "protocol": "TCP"}]},
            id="ports differ by protocol",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            id="a variable changes its kind of value",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]}, {}, {"env": [{"name": "A", "value": "1"}]}, {},
            id="a whole list goes",
        ),
        pytest.param(
            {"finalizers": ["a"]}, {"finalizers": ["b"]}, {"finalizers": ["a", "theirs"]},
            {"finalizers": ["theirs", "b"]}, id="finalizers are shared",
        ),
        pytest.param(
            {"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]},
            id="a list without a key is replaced",
        ),
    ],
)  # fmt: skip
def test_apply_merges_three_ways(
    last: dict[str, Any], wanted: dict[str, Any], live: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert patched(last, wanted, live) == expected


def test_applying_the_same_again_sends_nothing() -> None:
    same = manifest({"containers": [C], "ports": [PORT]}, labels={"a": "b"})
    live = applied(same, {"containers": [C_LIVE], "ports": [PORT_LIVE], "more": 1})
    assert apply_patch(last_applied_of(live), with_last_applied(same), live) == {}


def test_another_spelling_of_the_same_annotation_is_no_change() -> None:
    same = manifest({"replicas": 1})
    live = applied(same, {"replicas": 1})
    text = live["metadata"]["annotations"][LAST_APPLIED]
    live["metadata"]["annotations"][LAST_APPLIED] = json.dumps(json.loads(text), indent=2)
    assert apply_patch(last_applied_of(live), with_last_applied(same), live) == {}


def test_an_object_that_was_not_applied_before_is_taken_over() -> None:
    live = manifest({"replicas": 1, "x": 1}, resourceVersion="1")
    assert last_applied_of(live) is None
    patch = apply_patch(None, with_last_applied(manifest({"replicas": 2})), live)
    assert patch["spec"] == {"replicas": 2}
    assert LAST_APPLIED in patch["metadata"]["annotations"]


def test_labels_and_annotations_are_merged_too() -> None:
    before = manifest({}, labels={"a": "1", "b": "2"}, annotations={"x": "1"})
    live = applied(before, {})
    live["metadata"]["labels"]["theirs"] = "3"
    wanted = with_last_applied(manifest({}, labels={"a": "1"}))
    merged = merge_patch(live, apply_patch(last_applied_of(live), wanted, live))
    assert merged["metadata"]["labels"] == {"a": "1", "theirs": "3"}
    assert list(merged["metadata"]["annotations"]) == [LAST_APPLIED]


def test_what_servers_write_is_not_sent() -> None:
    written = manifest(
        {}, creationTimestamp=None, uid="u", resourceVersion="5", annotations={LAST_APPLIED: "x"}
    )
    sent = with_last_applied({**written, "status": {"replicas": 1}})
    assert "status" not in sent
    assert set(sent["metadata"]) == {"name", "annotations"}
    said = json.loads(sent["metadata"]["annotations"][LAST_APPLIED])
    assert said == {**manifest({}), "metadata": {"name": "web", "annotations": {}}}
    assert written["metadata"]["uid"] == "u"  # the manifest itself is not touched


leaves = st.one_of(st.integers(0, 2), st.sampled_from(["", "a"]))
containers = st.lists(
    st.builds(lambda n, v: {"name": n, "image": v}, st.sampled_from("abcd"), leaves),
    max_size=3,
    unique_by=lambda c: c["name"],
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "x": leaves,
        "y": st.dictionaries(st.sampled_from("pqr"), leaves, min_size=1),
        "containers": containers.filter(bool),
        "args": st.lists(leaves, min_size=1, max_size=2),
    },
)


@given(last=specs, wanted=specs, live=specs)
def test_after_an_apply_all_that_is_said_holds_and_a_second_one_changes_nothing(
    last: dict[str, Any], wanted: dict[str, Any], live: dict[str, Any]
) -> None:
    found = applied(manifest(last), copy.deepcopy(live))
    sent = with_last_applied(manifest(wanted))
    after = merge_patch(found, apply_patch(last_applied_of(found), sent, found))
    spec = after["spec"]
    for field in ("x", "args"):
        if field in wanted:
            assert spec[field] == wanted[field]
    assert (wanted.get("y") or {}).items() <= spec.get("y", {}).items()
    by_name = {c["name"]: c for c in spec.get("containers", [])}
    for container in wanted.get("containers", []):
        assert container.items() <= by_name[container["name"]].items()
    for field in last:
        if field not in wanted:
            assert field not in spec
    for field, value in live.items():
        if field not in last and field not in wanted:
            assert spec[field] == value
    assert apply_patch(last_applied_of(after), sent, after) == {}
