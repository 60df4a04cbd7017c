from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.environment import ConfigError, environment, expand
from agents.node.fields import FieldError, Place, field_value, resource_value
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.quantity import parse_quantity
from tests.agents.node.pods import pod

PLACE = Place("127.64.0.2", "127.0.0.1", "node-0", {"cpu": parse_quantity("2")})
OBJECTS = {
    ("ConfigMap", "settings"): {"data": {"a": "1", "not a name": "x"}},
    ("Secret", "keys"): {"data": {"b": base64.b64encode(b"2").decode()}},
}


async def fetch(gvk: GroupVersionKind, _namespace: str, name: str) -> Object:
    try:
        return {"kind": gvk.kind, **OBJECTS[gvk.kind, name]}
    except KeyError as error:
        raise NotFoundError("not found") from error


@pytest.mark.parametrize(
    ("text", "result"),
    [
        pytest.param("$(A)", "a", id="known"),
        pytest.param("$(B)", "$(B)", id="unknown stays"),
        pytest.param("$$(A)", "$(A)", id="escaped"),
        pytest.param("$$$(A)", "$a", id="escaped, then known"),
        pytest.param("$A ${A} $", "$A ${A} $", id="other syntax is not ours"),
        pytest.param("x$(A)y$(A)", "xaya", id="twice"),
    ],
)
def test_expand(text: str, result: str) -> None:
    assert expand(text, {"A": "a"}) == result


@given(st.text(st.characters(exclude_characters="$")))
def test_text_without_a_dollar_stays(text: str) -> None:
    assert expand(text, {"A": "a"}) == text


async def test_all_sources_in_order() -> None:
    container = {
        "envFrom": [
            {"configMapRef": {"name": "settings"}, "prefix": "P_"},
            {"secretRef": {"name": "absent", "optional": True}},
        ],
        "env": [
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "b"}}},
            {"name": "C", "value": "$(P_a)$(B)$(D)"},
            {"name": "D", "value": "late"},
            {
                "name": "E",
                "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": True}},
            },
        ],
    }
    values = await environment(pod(), container, PLACE, fetch)
    assert values == {"P_a": "1", "B": "2", "C": "12$(D)", "D": "late", "P_not a name": "x"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(
            {"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found', id="object"
        ),
        pytest.param(
            {"secretKeyRef": {"name": "keys", "key": "k"}},
            "couldn't find key k in Secret default/keys",
            id="key",
        ),
        pytest.param(
            {"fieldRef": {"fieldPath": "spec.no"}}, "unsupported fieldPath: spec.no", id="field"
        ),
    ],
)
async def test_what_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    container = {"env": [{"name": "A", "valueFrom": source}]}
    with pytest.raises(ConfigError, match=message):
        await environment(pod(), container, PLACE, fetch)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("metadata.name", "p"),
        ("metadata.labels", 'app="x"\nz="a\\"b"'),
        ("metadata.labels['app']", "x"),
        ("metadata.labels['none']", ""),
        ("spec.nodeName", "node-0"),
        ("status.podIP", "127.64.0.2"),
    ],
)
def test_fields(path: str, text: str) -> None:
    wanted = pod(metadata={"labels": {"z": 'a"b', "app": "x"}})
    assert field_value(wanted, path, PLACE) == text


@pytest.mark.parametrize(
    ("resource", "divisor", "text"),
    [
        ("limits.memory", "1Mi", "128"),
        ("limits.memory", "1G", "1"),
        ("requests.cpu", "1m", "250"),
        ("requests.cpu", "1", "1"),
        ("limits.cpu", "1", "2"),
        ("requests.memory", "1Mi", "128"),
    ],
)
def test_resources_round_up_and_fall_back_to_the_nodes(
    resource: str, divisor: str, text: str
) -> None:
    container = {"resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "128Mi"}}}
    reference = {"resource": resource, "divisor": divisor}
    assert resource_value(container, reference, PLACE) == text


def test_a_resource_that_is_none() -> None:
    with pytest.raises(FieldError):
        resource_value({}, {"resource": "memory"}, PLACE)
