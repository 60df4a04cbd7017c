"""What the definitions of built-in kinds, and of custom ones, say of merging."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.apply.types import Shape, Type, Types, UnkeyedError
from kubraft.api import gvk
from tests.apiserver.harness import SCHEMAS


def at(type_: Type, dotted: str) -> Type:
    for name in dotted.split("."):
        found = type_.element if name == "*" else type_.child(name)
        assert found is not None, dotted
        type_ = found
    return type_


@pytest.mark.parametrize(
    ("kind", "where", "shape", "keys"),
    [
        (gvk.POD, "spec.containers", Shape.KEYED, ("name",)),
        (gvk.POD, "spec.containers.*.ports", Shape.KEYED, ("containerPort", "protocol")),
        (gvk.POD, "spec.containers.*.args", Shape.ATOMIC_LIST, ()),
        (gvk.POD, "spec.containers.*.resources.limits", Shape.MAP, ()),
        (gvk.POD, "spec.containers.*.resources.limits.cpu", Shape.SCALAR, ()),
        (gvk.POD, "spec.nodeSelector", Shape.ATOMIC_MAP, ()),
        (gvk.POD, "spec.tolerations", Shape.ATOMIC_LIST, ()),
        (gvk.POD, "metadata.finalizers", Shape.SET, ()),
        (gvk.POD, "metadata.ownerReferences", Shape.KEYED, ("uid",)),
        (gvk.POD, "metadata.labels", Shape.MAP, ()),
        (gvk.POD, "status.conditions", Shape.KEYED, ("type",)),
        (gvk.SERVICE, "spec.ports", Shape.KEYED, ("port", "protocol")),
        (gvk.SERVICE, "spec.selector", Shape.ATOMIC_MAP, ()),
        (gvk.SERVICE, "spec.ports.*.targetPort", Shape.SCALAR, ()),
        (gvk.DEPLOYMENT, "spec.selector", Shape.ATOMIC_MAP, ()),
        (gvk.DEPLOYMENT, "spec.template.spec.containers", Shape.KEYED, ("name",)),
        (gvk.CONFIG_MAP, "data", Shape.MAP, ()),
        (gvk.ROLE, "rules", Shape.ATOMIC_LIST, ()),
    ],
)
def test_built_in_kinds(
    kind: gvk.GroupVersionKind, where: str, shape: Shape, keys: tuple[str, ...]
) -> None:
    found = at(SCHEMAS.merge_type(kind), where)
    assert (found.shape, found.keys) == (shape, keys)


def test_keys_that_the_api_fills_in_tell_items_apart() -> None:
    ports = at(SCHEMAS.merge_type(gvk.SERVICE), "spec.ports")
    assert ports.element_of({"port": 80}) == 'k:{"port":80,"protocol":"TCP"}'


@pytest.mark.parametrize("item", [None, 3, [], {}, {"image": "x"}])
def test_items_without_keys_are_refused(item: Any) -> None:
    with pytest.raises(UnkeyedError, match="associative list with keys"):
        at(SCHEMAS.merge_type(gvk.POD), "spec.containers").element_of(item)


def test_a_custom_kind_has_the_metadata_of_all() -> None:
    spec = {"type": "object", "properties": {"size": {"type": "integer"}}}
    types = Types(SCHEMAS.definition(gvk.POD)[0])
    kind = types.of_custom({"type": "object", "properties": {"spec": spec, "metadata": {}}})
    assert at(kind, "spec.size").shape is Shape.SCALAR
    assert at(kind, "metadata.finalizers").shape is Shape.SET
    assert kind.child("other") is None
    free = types.of_custom(None)
    assert at(free, "anything.below").shape is Shape.ANY
    assert at(free, "metadata.finalizers").shape is Shape.SET


def test_a_type_may_contain_itself() -> None:
    types = Types({"T": {"type": "object", "properties": {"not": {"$ref": "#/$defs/T"}}}})
    assert at(types.named("T"), "not.not.not") is types.named("T")
