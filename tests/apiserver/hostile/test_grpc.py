"""The gRPC front and clients that lie or shout: each hears a status, and others are served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import grpc
import grpc.aio
import pytest

from apiserver.rpc.server import OBJECTS, PODS
from kubraft.pb.v1 import objects_pb2 as pb
from tests.apiserver.hostile.budget import SECONDS, seeds
from tests.apiserver.hostile.texts import mutated
from tests.apiserver.in_process import ADMIN_TOKEN, Served
from tests.apiserver.schema.test_protobuf import message

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
TIMEOUT_S = 60.0
OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}}
RAW = json.dumps(OBJECT).encode()
OBJECT_FIELD = pb.PutRequest.DESCRIPTOR.fields_by_name["object"].number
DEFECTS = (Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS)


@asynccontextmanager
async def channel(served: Served, *options: tuple[str, Any]) -> AsyncIterator[Any]:
    credentials = grpc.ssl_channel_credentials((served.pki / "ca.crt").read_bytes())
    target = f"localhost:{served.server._options.grpc_port}"
    async with grpc.aio.secure_channel(target, credentials, options) as made:
        yield made


async def call(
    line: Any, method: str, raw: bytes, *, token: str = ADMIN_TOKEN, **more: str
) -> tuple[grpc.StatusCode, str]:
    """Send bytes to a method; its status and message."""
    metadata = (("authorization", f"Bearer {token}"), *more.items())
    try:
        await line.unary_unary(method)(raw, metadata=metadata, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return Code.OK, ""


def deep(levels: int) -> bytes:
    """A PutRequest whose Struct nests; this side's library would not write it."""
    found = b""
    for _ in range(levels):
        found = message((1, message((1, "a"), (2, message((5, found))))))
    return message((OBJECT_FIELD, found))


@pytest.mark.parametrize(
    ("method", "raw", "code"),
    [
        pytest.param("Get", b"", Code.INVALID_ARGUMENT, id="nothing"),
        pytest.param("Nothing", b"", Code.UNIMPLEMENTED, id="no-method"),
        pytest.param("Put", pb.PutRequest(json=b"{").SerializeToString(), Code.INVALID_ARGUMENT,
                     id="cut-short"),
        pytest.param("Put", pb.PutRequest(json=b'{"a":' * 5000).SerializeToString(),
                     Code.INVALID_ARGUMENT, id="deep-json"),
        pytest.param("Put", deep(2000),
                     Code.INVALID_ARGUMENT, id="deep-struct"),
        pytest.param("Put", pb.PutRequest(json=b'{"kind":["Pod"]}').SerializeToString(),
                     Code.INVALID_ARGUMENT, id="kind-is-a-list"),
        pytest.param("Get", pb.GetRequest(kind="Secret", namespace="..", name="a/b")
                     .SerializeToString(), Code.INVALID_ARGUMENT, id="path"),
        pytest.param("Get", pb.GetRequest(kind="Secret", name="\0").SerializeToString(),
                     Code.INVALID_ARGUMENT, id="nul"),
        pytest.param("List", pb.ListRequest(kind="Pod", continue_token="x").SerializeToString(),
                     Code.INVALID_ARGUMENT, id="continue"),
        pytest.param("List", pb.ListRequest(kind="Pod", label_selector="a in (")
                     .SerializeToString(), Code.INVALID_ARGUMENT, id="selector"),
    ],
)  # fmt: skip
async def test_what_is_no_request_is_refused(
    served: Served, method: str, raw: bytes, code: grpc.StatusCode
) -> None:
    async with channel(served) as line:
        assert (await call(line, f"/{OBJECTS}/{method}", raw))[0] is code


async def test_a_message_beyond_the_limit_is_refused(served: Served) -> None:
    async with channel(served, ("grpc.max_send_message_length", -1)) as line:
        raw = pb.PutRequest(json=RAW.ljust(4 << 20)).SerializeToString()
        assert (await call(line, f"/{OBJECTS}/Put", raw))[0] is Code.RESOURCE_EXHAUSTED
        assert (await call(line, f"/{OBJECTS}/Kinds", b""))[0] is Code.OK


async def test_metadata_beyond_the_limit_is_refused(served: Served) -> None:
    async with channel(served) as line:
        found, _ = await call(line, f"/{OBJECTS}/Kinds", b"", x="y" * 200_000)
        assert found in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE)
    async with channel(served) as line:
        assert (await call(line, f"/{OBJECTS}/Kinds", b""))[0] is Code.OK


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x" * 30_000])
async def test_tokens_that_lie_are_told_nothing(served: Served, token: str) -> None:
    secret = pb.GetRequest(kind="Secret", namespace="kube-system", name="x").SerializeToString()
    async with channel(served) as line:
        for method in (f"/{OBJECTS}/Get", f"/{OBJECTS}/Put", f"/{PODS}/Logs"):
            code, said = await call(line, method, secret, token=token)
            assert code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED), (method, said)
            assert not token or token not in said


async def test_reflection_and_health_tell_names_alone(served: Served) -> None:
    """Both are open to everybody, as grpcurl expects; neither knows an object."""
    async with channel(served) as line:
        method = "/grpc.health.v1.Health/Check"
        assert (await call(line, method, b"", token="nobody"))[0] is Code.OK
        asked = line.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        listing = asked(iter([b"\x3a\x00", b"\x3a\xff\xff"]), timeout=TIMEOUT_S)
        answers: list[bytes] = []
        with pytest.raises(grpc.aio.AioRpcError):
            answers.extend([answer async for answer in listing])
        assert not any(b"default" in answer for answer in answers)


SAMPLES = {
    "Get": (pb.GetRequest(kind="ConfigMap", namespace="default", name="x", resource_version="1"),),
    "List": (pb.ListRequest(kind="Pod", label_selector="a=b", limit=5, resource_version="0"),),
    "Put": (pb.PutRequest(json=RAW, namespace="default", dry_run=True, field_manager="m"),),
    "Patch": (
        pb.PatchRequest(
            kind="ConfigMap", namespace="default", name="x", json=b'{"data":{"c":"d"}}'
        ),
    ),
    "Delete": (
        pb.DeleteRequest(kind="Pod", namespace="default", name="x", grace_period_seconds=1),
    ),
    "Kinds": (pb.KindsRequest(),),
}


@pytest.mark.timeout(120 + SECONDS)
@pytest.mark.parametrize("method", SAMPLES)
async def test_requests_that_are_nearly_right_are_carried_out_or_refused(
    served: Served, method: str
) -> None:
    samples = [sample.SerializeToString() for sample in SAMPLES[method]]
    samples += [deep(20)] if method == "Put" else []
    async with channel(served) as line:
        for seed in seeds(60):
            raw = mutated(Random(seed).choice(samples), samples, Random(seed))
            code, said = await call(line, f"/{OBJECTS}/{method}", raw)
            assert code not in DEFECTS, (seed, raw, said)
            assert "Traceback" not in said


async def test_what_is_no_grpc_ends_and_others_are_served(served: Served) -> None:
    held = []
    try:
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 50, b"", b"\0" * 9000):
            for _ in range(20):
                line = await asyncio.open_connection("127.0.0.1", served.server._options.grpc_port)
                line[1].write(sent)
                held.append(line[1])
        async with channel(served) as one:
            assert (await call(one, f"/{OBJECTS}/Kinds", b""))[0] is Code.OK
    finally:
        for writer in held:
            writer.transport.abort()


async def test_one_connection_has_a_bounded_number_of_calls(served: Served) -> None:
    """What is beyond it waits at the client; none is lost, and none of it is at the server."""
    async with channel(served) as line:
        watch = line.unary_stream(f"/{OBJECTS}/Watch")
        raw = pb.WatchRequest(kind="ConfigMap", namespace="default").SerializeToString()
        metadata = (("authorization", f"Bearer {ADMIN_TOKEN}"),)
        streams = [watch(raw, metadata=metadata) for _ in range(1100)]
        await asyncio.sleep(0.5)
        async with channel(served, ("grpc.use_local_subchannel_pool", 1)) as other:
            assert (await call(other, f"/{OBJECTS}/Kinds", b""))[0] is Code.OK
        for stream in streams:
            stream.cancel()
