"""Strategic merge patches, by the schema of Deployments and Nodes."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.registry.strategic_merge import PatchSchema, strategic_merge
from kubraft.api.errors import BadRequestError
from kubraft.api.gvk import POD
from tests.apiserver.harness import SCHEMAS

OF_POD = PatchSchema.of(*SCHEMAS.definition(POD))
A, B, C = ({"name": n, "image": f"{n}:1"} for n in "abc")


def spec(*containers: Any, **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **more}}


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        pytest.param(
            spec(A, B), spec({"name": "b", "image": "b:2"}), spec(A, {**B, "image": "b:2"}),
            id="an item is merged by its key",
        ),
        pytest.param(spec(A), spec(B), spec(A, B), id="an unknown item is added"),
        pytest.param(
            spec(A, B), spec({"name": "a", "$patch": "delete"}), spec(B), id="an item is deleted"
        ),
        pytest.param(
            spec(A, B), spec(C, {"$patch": "replace"}), spec(C), id="a list is replaced"
        ),
        pytest.param(
            spec(A, B),
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
            spec(B, A),
            id="items are put in order",
        ),
        pytest.param(
            spec(A, B),
            {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
                      "containers": [C]}},
            spec(C, A, B),
            id="what the order does not name stays",
        ),
        pytest.param(
            spec({**A, "args": ["1", "2"]}), spec({"name": "a", "args": ["3"]}),
            spec({**A, "args": ["3"]}), id="a list without a strategy is replaced",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["x", "y"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "finalizers": ["z"]}},
            {"metadata": {"finalizers": ["y", "z"]}},
            id="a list of words loses and gains",
        ),
        pytest.param(
            {"metadata": {"labels": {"a": "1", "b": "2"}}},
            {"metadata": {"labels": {"a": None, "c": "3"}}},
            {"metadata": {"labels": {"b": "2", "c": "3"}}},
            id="a null takes a member away",
        ),
        pytest.param(
            spec(volumes=[{"name": "v", "emptyDir": {}}]),
            {"spec": {"volumes": [
                {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}},
            spec(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
            id="keys that are not retained go",
        ),
        pytest.param(
            spec(A, nodeSelector={"a": "1"}),
            {"spec": {"nodeSelector": {"$patch": "replace", "b": "2"}}},
            spec(A, nodeSelector={"b": "2"}),
            id="a map is replaced",
        ),
    ],
)  # fmt: skip
def test_a_patch_merges_as_the_schema_says(before: Any, patch: Any, after: Any) -> None:
    assert strategic_merge(before, patch, OF_POD) == after


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param(spec({"image": "x"}), id="no key"),
        pytest.param({"spec": {"$patch": "shred"}}, id="unknown directive"),
        pytest.param({"spec": {"$retainKeys": 3}}, id="no list"),
        pytest.param(spec(A, "b"), id="mixed"),
    ],
)
def test_a_malformed_patch_is_refused(patch: Any) -> None:
    with pytest.raises(BadRequestError):
        strategic_merge(spec(A), patch, OF_POD)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["spec", "containers", "name", "metadata", "finalizers", "$patch", "$retainKeys",
             "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers"]
        ),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON, st.dictionaries(st.sampled_from(["spec", "metadata"]), JSON, max_size=2))
def test_any_patch_of_anything_is_merged_or_refused(target: Any, patch: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequestError):
        strategic_merge(target, patch, OF_POD)
