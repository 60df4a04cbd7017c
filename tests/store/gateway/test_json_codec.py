"""The codec against protobuf's own, on messages of every shape, and its bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.gateway.json_codec import ITEMS_MAX, decode, encode, parse
from store.gateway.json_syntax import JsonError
from store.gateway.routes import routes

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_INTEGERS = {
    FieldDescriptor.TYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, (1 << 64) - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, (1 << 32) - 1),
}


def _value(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return messages(field.message_type, depth - 1)
    if field.type == FieldDescriptor.TYPE_ENUM:
        known = [value.number for value in field.enum_type.values]
        return st.sampled_from([*known, 77])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=20)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _TEXT
    return _INTEGERS.get(field.type, st.booleans())


@st.composite
def messages(draw: st.DrawFn, descriptor: Any, depth: int = 3) -> Message:
    message = GetMessageClass(descriptor)()
    fields = [f for f in descriptor.fields if depth or f.type != FieldDescriptor.TYPE_MESSAGE]
    chosen = draw(st.lists(st.sampled_from(fields), max_size=4)) if fields else []
    for field in chosen:
        one = _value(field, depth)
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(one, max_size=3)))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).CopyFrom(draw(one))
        else:
            setattr(message, field.name, draw(one))
    return message


_KINDS = sorted(
    {kind for route in routes().values() for kind in (route.request, route.response)},
    key=lambda kind: kind.DESCRIPTOR.full_name,
)
_MESSAGES = st.sampled_from(_KINDS).flatmap(lambda kind: messages(kind.DESCRIPTOR))


@given(_MESSAGES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_means_what_protobuf_writes(message: Message) -> None:
    ours = json.loads(encode(message))
    theirs = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert ours == theirs


@given(_MESSAGES, st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_protobuf_writes_is_read(message: Message, camel_case: bool, ascii_only: bool) -> None:
    text = json_format.MessageToJson(
        message, preserving_proto_field_name=not camel_case, ensure_ascii=ascii_only
    )
    found = type(message)()
    decode(parse(text), found)
    assert found == message


@given(_MESSAGES)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read(message: Message) -> None:
    found = type(message)()
    decode(parse(encode(message).decode()), found)
    assert found == message


@given(st.text(st.sampled_from('{}[]",:\\u0019aetrulsfn.-+ \n\x01é'), max_size=30))
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_text_is_json_for_us_if_it_is_for_python(text: str) -> None:
    try:
        json.JSONDecoder().raw_decode(text.lstrip(" \t\r\n"))
    except ValueError:
        with pytest.raises(JsonError, match="invalid character .|unexpected EOF"):
            parse(text)
    else:
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="deep-array"),
        pytest.param('{"a":' * 100_000, id="deep-object"),
        pytest.param("9" * 10_000, id="long-number"),
        pytest.param('{"success":[' + "{}," * (2 * ITEMS_MAX) + "{}]}", id="many-messages"),
        pytest.param('{"a":' + " " * 1_000_000 + "x", id="fault-far-behind"),
    ],
)
def test_what_costs_too_much_is_refused(text: str) -> None:
    with pytest.raises(JsonError):
        decode(parse(text), pb.TxnRequest())
