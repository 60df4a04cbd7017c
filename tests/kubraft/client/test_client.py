import asyncio
from contextlib import aclosing
from typing import Any

import grpc
import pytest

from kubraft.api.errors import (
    AlreadyExistsError,
    BadRequestError,
    Cause,
    ConflictError,
    ExpiredError,
    InvalidError,
    NotFoundError,
    ServiceUnavailableError,
)
from kubraft.api.gvk import CONFIG_MAP, POD
from kubraft.client.client import ApiClient
from kubraft.client.leader_election import LeadershipLostError
from tests.harness.eventually import eventually
from tests.harness.wire import Wire, unavailable


def config_map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"namespace": "default", "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def test_objects_come_back_as_they_were_stored(client: ApiClient) -> None:
    created = await client.create(config_map("a", x="1"))
    assert created["metadata"]["resourceVersion"]
    assert await client.get(CONFIG_MAP, "a", "default") == created
    created["data"]["x"] = "2"
    updated = await client.update(created)
    patched = await client.patch(CONFIG_MAP, "a", {"data": {"y": "3"}}, "default")
    assert patched["data"] == {"x": "2", "y": "3"}
    with pytest.raises(ConflictError):
        await client.update(updated)
    assert (await client.delete(CONFIG_MAP, "a", "default"))["data"] == patched["data"]
    with pytest.raises(NotFoundError, match='"a" not found'):
        await client.get(CONFIG_MAP, "a", "default")


async def test_lists_carry_their_resource_version(client: ApiClient, wire: Wire) -> None:
    for name in ("a", "b"):
        await client.create(config_map(name))
    found = await client.list(CONFIG_MAP, "default")
    assert [obj["metadata"]["name"] for obj in found.items] == ["a", "b"]
    assert found.resource_version == str(wire.revision)


async def test_failures_keep_reason_and_causes(client: ApiClient, wire: Wire) -> None:
    causes = [Cause("FieldValueRequired", "Required value", "spec.containers")]
    wire.failures.append(InvalidError("Pod is invalid", kind="Pod", name="p", causes=causes))
    with pytest.raises(InvalidError) as raised:
        await client.create(config_map("a"))
    assert raised.value.causes == tuple(causes)
    assert (raised.value.kind, raised.value.name) == ("Pod", "p")
    await client.create(config_map("a"))
    with pytest.raises(AlreadyExistsError):
        await client.create(config_map("a"))


async def test_an_update_without_a_version_is_not_sent(client: ApiClient, wire: Wire) -> None:
    with pytest.raises(BadRequestError, match="resourceVersion"):
        await client.update(config_map("a"))
    assert wire.calls == []


async def test_the_token_is_sent(wire: Wire) -> None:
    client = ApiClient(wire.address, ca_file=None, token="s3cret")
    await client.list(POD)
    assert wire.metadata[-1]["authorization"] == "Bearer s3cret"
    await client.close()


async def test_what_the_server_says_about_the_store_is_passed_on_at_once(
    client: ApiClient, wire: Wire
) -> None:
    wire.failures.append(unavailable())
    with pytest.raises(ServiceUnavailableError, match="quorum lost, 1 of 3 members up"):
        await client.get(CONFIG_MAP, "a", "default")
    assert wire.calls == ["Get"]


async def test_no_server_is_one_clear_error() -> None:
    client = ApiClient("127.0.0.1:1", ca_file=None, connect_timeout_s=0.3)
    with pytest.raises(
        ServiceUnavailableError, match=r"^the API server at 127.0.0.1:1 does not answer: .*refused"
    ):
        await client.list(POD)
    await client.close()


async def test_calls_wait_for_a_server_that_comes_back(client: ApiClient, wire: Wire) -> None:
    await client.create(config_map("a"))
    await wire.stop()
    channel = client._transport._channel
    # A write that is sent on a connection which ends under it fails: it may have happened.
    await eventually(
        lambda: channel.get_state() is not grpc.ChannelConnectivity.READY, "the connection ends"
    )
    reading = asyncio.ensure_future(client.get(CONFIG_MAP, "a", "default"))
    writing = asyncio.ensure_future(client.create(config_map("b")))
    await asyncio.sleep(0.3)
    assert not reading.done()
    await wire.start()
    assert (await reading)["metadata"]["name"] == "a"
    assert (await writing)["metadata"]["name"] == "b"


async def test_watch_tells_what_happens_and_where_it_is(client: ApiClient, wire: Wire) -> None:
    start = (await client.list(CONFIG_MAP)).resource_version
    await client.create(config_map("a"))
    await client.patch(CONFIG_MAP, "a", {"data": {"x": "1"}}, "default")
    await client.delete(CONFIG_MAP, "a", "default")
    seen = []
    async with aclosing(client.watch(CONFIG_MAP, resource_version=start)) as events:
        async for event in events:
            seen.append((event.type, event.resource_version))
            if event.type == "BOOKMARK":
                break
    base = int(start)
    assert seen == [
        ("ADDED", str(base + 1)),
        ("MODIFIED", str(base + 2)),
        ("DELETED", str(base + 3)),
        ("BOOKMARK", str(base + 3)),
    ]
    await eventually(lambda: not wire._watches, "the server ends the watch")


async def test_watch_of_lost_history_raises_expired(client: ApiClient, wire: Wire) -> None:
    await client.create(config_map("a"))
    wire.compact()
    with pytest.raises(ExpiredError):
        async for _ in client.watch(CONFIG_MAP, resource_version="1"):
            pass


async def test_kinds_say_how_to_name_them(client: ApiClient) -> None:
    (kind,) = await client.kinds()
    assert (kind.gvk, kind.plural, kind.short_names) == (POD, "pods", ("po",))


async def test_logs_come_in_chunks(client: ApiClient) -> None:
    assert [chunk async for chunk in client.logs("p", "default")] == [b"one\n", b"two\n"]


async def test_bind_names_the_pod_and_the_node(client: ApiClient, wire: Wire) -> None:
    await client.bind({"metadata": {"namespace": "n", "name": "p", "uid": "u"}}, "node-1")
    request = wire.requests[-1]
    assert (request.subresource, request.namespace, request.name) == ("binding", "n", "p")
    assert b'"name":"node-1"' in request.json
    assert b'"uid":"u"' in request.json


async def test_a_fenced_client_does_not_write_once_the_lease_is_over(
    client: ApiClient, wire: Wire
) -> None:
    leading = True

    def fence() -> float:
        if not leading:
            raise LeadershipLostError("lost")
        return 5.0

    fenced = client.fenced(fence)
    await fenced.create(config_map("a"))
    leading = False
    with pytest.raises(LeadershipLostError):
        await fenced.create(config_map("b"))
    await fenced.get(CONFIG_MAP, "a", "default")
    await client.create(config_map("c"))
    assert wire.calls == ["Put", "Get", "Put"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({"cert_file": "c"}, "must be given together", id="certificate without key"),
        pytest.param({"cert_file": "c", "key_file": "k"}, "needs a CA", id="without CA"),
    ],
)
async def test_credentials_that_do_not_go_together(files: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ApiClient("127.0.0.1:1", ca_file=None, **files)
