"""Decoding: a fast path for what is right, and exact words for what is not."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.schema.decoder import Decoder
from apiserver.schema.schemas import FieldValidation
from kubraft.api.errors import BadRequestError
from kubraft.api.gvk import DEPLOYMENT, POD
from kubraft.api.object import Object
from tests.apiserver.harness import SCHEMAS, deployment, pod

FULL = pod(
    volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
    tolerations=[{"operator": "Exists", "tolerationSeconds": 5}],
    nodeSelector={"a": "b"},
)


def without(obj: Object, path: list[Any], value: Any) -> Object:
    """A copy of `obj` with `value` at `path`."""
    result = copy.deepcopy(obj)
    target: Any = result
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    return result


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            found += paths(item, (*path, key))
    return found


@given(path=st.sampled_from(paths(FULL)))
def test_a_null_is_as_if_absent(path: tuple[Any, ...]) -> None:
    if path[0] in ("apiVersion", "kind") or isinstance(path[-1], int):
        return
    decoded = SCHEMAS.decode(POD, without(FULL, list(path), None)).obj
    value: Any = decoded
    for part in path[:-1]:
        value = value[part]
    if path[-1] in ("b", "a") and path[-2:-1] == ("nodeSelector",):
        assert value[path[-1]] == ""  # the value of a map is the zero value
    else:
        assert path[-1] not in value


@given(path=st.sampled_from(paths(FULL)), junk=st.sampled_from([[], {}, True, "x", 1.5, 2**40]))
def test_a_wrong_type_is_a_bad_request_or_fits(path: tuple[Any, ...], junk: Any) -> None:
    obj = without(FULL, list(path), junk)
    with contextlib.suppress(BadRequestError):
        assert SCHEMAS.decode(POD, obj).obj == obj


@given(path=st.sampled_from([p for p in paths(deployment()) if p[0] in ("spec", "metadata")]))
def test_an_unknown_field_is_named_with_its_path(path: tuple[Any, ...]) -> None:
    obj = copy.deepcopy(deployment())
    target: Any = obj
    for part in path:
        target = target[part]
    if not isinstance(target, dict) or "matchLabels" in path or "labels" in path:
        return
    target["typo"] = 1
    shown = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in (*path, "typo"))
    with pytest.raises(BadRequestError, match="strict decoding error: unknown field") as error:
        SCHEMAS.decode(DEPLOYMENT, obj)
    assert f'unknown field "{shown[1:]}"' in error.value.message
    decoded = SCHEMAS.decode(DEPLOYMENT, obj, FieldValidation.WARN)
    assert decoded.obj == deployment()
    assert decoded.warnings == (f'unknown field "{shown[1:]}"',)


@pytest.mark.parametrize("obj", [pod(), FULL, deployment()], ids=["pod", "full pod", "deployment"])
def test_both_paths_agree_on_what_is_right(obj: Object) -> None:
    gvk = POD if obj["kind"] == "Pod" else DEPLOYMENT
    definitions, root = SCHEMAS.definition(gvk)
    decoder = Decoder(definitions)
    assert decoder.decode(root, obj) == SCHEMAS.decode(gvk, obj).obj == obj
    assert decoder.unknown == []
    assert SCHEMAS.validate(gvk, obj) == []


def test_what_status_lacks_reads_as_zero() -> None:
    obj = pod()
    obj["status"] = {"containerStatuses": [{"name": "c", "ready": True}]}
    decoded = SCHEMAS.decode(POD, obj).obj
    status = {"name": "c", "ready": True, "restartCount": 0, "image": "", "imageID": ""}
    assert decoded["status"]["containerStatuses"] == [status]


@pytest.mark.parametrize(
    ("moment", "fine"),
    [
        pytest.param("2026-01-02T03:04:05Z", True, id="utc"),
        pytest.param("2026-01-02T03:04:05.123456+02:00", True, id="fraction and zone"),
        pytest.param("2026-01-02", False, id="date"),
        pytest.param("yesterday", False, id="word"),
        pytest.param("2026-01-02T03:04:05", False, id="no zone"),
    ],
)
def test_times_are_rfc_3339(moment: str, fine: bool) -> None:
    obj = pod()
    obj["metadata"]["creationTimestamp"] = moment
    if fine:
        assert SCHEMAS.decode(POD, obj).obj == obj
    else:
        with pytest.raises(BadRequestError, match="parsing time"):
            SCHEMAS.decode(POD, obj)
