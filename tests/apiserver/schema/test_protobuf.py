"""Kubernetes' binary form, written here by hand as its rules say, and read back."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.schema.protobuf import MAGIC, MalformedError, decode


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def message(*fields: tuple[int, Any]) -> bytes:
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        else:
            raw = value.encode() if isinstance(value, str) else value
            parts.append(varint(number << 3 | 2) + varint(len(raw)) + raw)
    return b"".join(parts)


def body(api_version: str, kind: str, *fields: tuple[int, Any]) -> bytes:
    type_meta = message((1, api_version), (2, kind))
    return MAGIC + message((1, type_meta), (2, message(*fields)), (3, ""), (4, ""))


def entry(key: str, value: Any) -> bytes:
    return message((1, key), (2, value))


NAME = message((1, "x"), (2, ""), (3, "default"), (8, message((1, 0), (2, 0))))


@pytest.mark.parametrize(
    ("raw", "obj"),
    [
        pytest.param(
            body("v1", "ConfigMap", (1, NAME), (2, entry("a", "b")), (3, entry("c", b"\x00"))),
            {"metadata": {"name": "x", "namespace": "default"}, "data": {"a": "b"},
             "binaryData": {"c": "AA=="}},
            id="maps, bytes, and a time that is not set",
        ),
        pytest.param(
            body("apps/v1", "Deployment", (2, message((1, 0), (5, 0), (7, 0)))),
            {"spec": {"replicas": 0}},
            id="a zero counts where it is a pointer",
        ),
        pytest.param(
            body("autoscaling/v2", "HorizontalPodAutoscaler", (2, message((3, 2), (4, message(
                (1, "Resource"), (4, message((1, "cpu"), (2, message(
                    (1, "Utilization"), (4, 50)))))))))),
            {"spec": {"maxReplicas": 2, "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}},
            id="a second version has messages of its own",
        ),
        pytest.param(
            body("v1", "Pod", (2, message((1, message((1, "v"), (2, message((2, b"")))))))),
            {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
            id="a source is inlined, and kept though empty",
        ),
        pytest.param(
            body("v1", "Service", (2, message((1, message((2, "TCP"), (3, 80),
                                                          (4, message((1, 1), (3, "web")))))))),
            {"spec": {"ports": [{"protocol": "TCP", "port": 80, "targetPort": "web"}]}},
            id="a port by name",
        ),
        pytest.param(
            body("v1", "ResourceQuota", (2, message((1, entry("pods", message((1, "10"))))))),
            {"spec": {"hard": {"pods": "10"}}},
            id="quantities",
        ),
        pytest.param(
            body("v1", "DeleteOptions", (1, 0), (4, "Orphan"), (5, "All")),
            {"gracePeriodSeconds": 0, "propagationPolicy": "Orphan", "dryRun": ["All"]},
            id="options",
        ),
        pytest.param(
            body("coordination.k8s.io/v1", "Lease",
                 (2, message((2, 15), (4, message((1, 1767323045), (2, 5000)))))),
            {"spec": {"leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000005Z"}},
            id="a time with microseconds",
        ),
        pytest.param(
            body("authorization.k8s.io/v1", "SubjectAccessReview",
                 (2, message((3, "ann"), (5, entry("k", message((1, "a"), (1, "b"))))))),
            {"spec": {"user": "ann", "extra": {"k": ["a", "b"]}}},
            id="lists in a map",
        ),
        pytest.param(
            body("v1", "Namespace", (99, "later"), (1, message((1, "n")))),
            {"metadata": {"name": "n"}},
            id="a field that is not known",
        ),
    ],
)  # fmt: skip
def test_an_object_is_read_as_its_json_form(raw: bytes, obj: dict[str, Any]) -> None:
    found = decode(raw)
    found.pop("apiVersion")
    found.pop("kind")
    assert {key: value for key, value in found.items() if value != {}} == obj


def test_kind_and_version_come_with_it() -> None:
    obj = decode(body("apps/v1", "Deployment"))
    assert (obj["apiVersion"], obj["kind"]) == ("apps/v1", "Deployment")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="JSON"),
        pytest.param(body("v1", "Nothing"), id="unknown kind"),
        pytest.param(body("v1", "ConfigMap", (1, NAME))[:-3] + b"\xff\xff\xff", id="broken"),
        pytest.param(MAGIC + message((2, b"")) + b"\x0a\x7f", id="cut off"),
        pytest.param(body("v1", "ConfigMap", (1, message((1, b"\xff")))), id="no UTF-8"),
        pytest.param(body("v1", "ConfigMap", (1, 7)), id="wrong wire type"),
        pytest.param(body("v1", "ConfigMap", *[(99, 0)] * 200_001), id="too many fields"),
        pytest.param(MAGIC + b"\x0b", id="group"),
    ],
)
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(raw)


@given(st.binary(max_size=300), st.sampled_from(["Pod", "ConfigMap", "Node", "Service"]))
def test_any_bytes_are_read_or_refused(raw: bytes, kind: str) -> None:
    type_meta = message((1, "v1"), (2, kind))
    with contextlib.suppress(MalformedError):
        decode(MAGIC + message((1, type_meta), (2, raw)))
    with contextlib.suppress(MalformedError):
        decode(MAGIC + raw)
