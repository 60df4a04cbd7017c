"""The client library against a real API server that is killed, stopped and started."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubraft.api.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServiceUnavailableError,
    UnauthorizedError,
)
from kubraft.api.gvk import CONFIG_MAP, EVENT, NODE, POD, SECRET, SERVICE_ACCOUNT
from kubraft.api.object import Object
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer
from kubraft.client.leader_election import LeaderElector
from tests.harness.api import ApiUnderTest, running_api
from tests.harness.eventually import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    folder: Path = tmp_path_factory.mktemp("api")
    with running_api(folder) as running:
        yield running


@pytest.fixture
async def client(api: ApiUnderTest) -> AsyncIterator[ApiClient]:
    opened = api.client("admin")
    yield opened
    await opened.close()


@pytest.fixture
async def namespace(client: ApiClient, request: pytest.FixtureRequest) -> str:
    name: str = request.node.name.replace("_", "-").lower()[:60].strip("-")
    await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def a_pod(namespace: str, name: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "kubraft/web:1"}]}
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def with_service_account(client: ApiClient, namespace: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    await client.create({**account, "metadata": {"name": "default", "namespace": namespace}})


async def test_every_verb(client: ApiClient, namespace: str) -> None:
    created = await client.create(config_map(namespace, "a", x="1"))
    with pytest.raises(AlreadyExistsError, match='configmaps "a" already exists'):
        await client.create(config_map(namespace, "a"))
    created["data"]["x"] = "2"
    updated = await client.update(created)
    with pytest.raises(ConflictError, match="the object has been modified"):
        await client.update(created)
    patched = await client.patch(CONFIG_MAP, "a", {"data": {"y": "3"}}, namespace)
    assert patched["data"] == {"x": "2", "y": "3"}
    assert patched["metadata"]["resourceVersion"] != updated["metadata"]["resourceVersion"]
    listed = await client.list(CONFIG_MAP, namespace, field_selector="metadata.name=a")
    assert listed.items == [patched]
    table = await client.table(CONFIG_MAP, namespace)
    assert [column["name"] for column in table["columnDefinitions"]][:2] == ["Name", "Data"]
    assert any(kind.gvk == POD and "po" in kind.short_names for kind in await client.kinds())
    await client.delete(CONFIG_MAP, "a", namespace, uid=created["metadata"]["uid"])
    with pytest.raises(NotFoundError, match='configmaps "a" not found'):
        await client.get(CONFIG_MAP, "a", namespace)


async def test_an_invalid_object_names_its_fields(client: ApiClient, namespace: str) -> None:
    await with_service_account(client, namespace)
    bad = a_pod(namespace, "p")
    bad["spec"]["containers"][0]["name"] = "Not A Name"
    with pytest.raises(InvalidError) as raised:
        await client.create(bad)
    assert raised.value.causes[0].field == "spec.containers[0].name"


async def test_pages_join_to_the_whole(client: ApiClient, namespace: str) -> None:
    for index in range(7):
        await client.create(config_map(namespace, f"c{index}"))
    names: list[str] = []
    token = ""
    while True:
        page = await client.list(CONFIG_MAP, namespace, limit=3, continue_token=token)
        assert len(page.items) <= 3
        names += [obj["metadata"]["name"] for obj in page.items]
        token = page.continue_token
        if not token:
            break
    assert names == [f"c{index}" for index in range(7)]


async def test_identities_have_their_rights(api: ApiUnderTest, namespace: str) -> None:
    scheduler, token, stranger = (
        api.client("scheduler"),
        api.token_client(),
        api.token_client("no-such-token"),
    )
    try:
        await scheduler.list(NODE)
        with pytest.raises(ForbiddenError, match='User "system:kube-scheduler" cannot list'):
            await scheduler.list(SECRET, namespace)
        await token.list(SECRET, namespace)
        with pytest.raises(UnauthorizedError):
            await stranger.list(NODE)
    finally:
        for client in (scheduler, token, stranger):
            await client.close()


async def test_a_service_account_gets_a_token_that_works(
    api: ApiUnderTest, client: ApiClient, namespace: str
) -> None:
    await with_service_account(client, namespace)
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    answer = await client.create_token("default", namespace, request)
    with_token = api.token_client(answer["status"]["token"])
    user = f"system:serviceaccount:{namespace}:default"
    with pytest.raises(ForbiddenError, match=f'User "{user}" cannot list'):
        await with_token.list(SERVICE_ACCOUNT, namespace)
    await with_token.close()


async def test_bind_and_status(client: ApiClient, namespace: str) -> None:
    await with_service_account(client, namespace)
    pod = await client.create(a_pod(namespace, "p"))
    await client.bind(pod, "node-x")
    bound = await client.get(POD, "p", namespace)
    assert bound["spec"]["nodeName"] == "node-x"
    conditions = {c["type"]: c["status"] for c in bound["status"]["conditions"]}
    assert conditions["PodScheduled"] == "True"
    with pytest.raises(ConflictError):
        await client.bind(pod, "node-y")
    bound["status"]["phase"] = "Running"
    assert (await client.update(bound, "status"))["status"]["phase"] == "Running"


async def test_a_killed_api_server_heals_within_a_second(
    api: ApiUnderTest, client: ApiClient, namespace: str
) -> None:
    """Calls and informers go on once it is back; nothing is missed and nothing comes twice."""
    informer = Informer(client, CONFIG_MAP, namespace=namespace)
    told: list[str] = []

    def tell(old: Object | None, new: Object | None) -> None:
        assert new
        told.append(f"{'~' if old else '+'}{new['metadata']['name']}")

    informer.add_handler(tell)
    following = asyncio.ensure_future(informer.run())
    await client.create(config_map(namespace, "before"))
    await eventually(lambda: "+before" in told)
    api.kill()
    quick = api.client("admin", connect_timeout_s=0.2)
    with pytest.raises(ServiceUnavailableError, match="does not answer"):
        await quick.list(NODE)
    api.start()
    await asyncio.to_thread(api.wait_ready)
    began_s = time.monotonic()
    await client.create(config_map(namespace, "after"))
    await eventually(lambda: "+after" in told)
    assert time.monotonic() - began_s < 3  # a second, and a busy machine
    assert [line for line in told if "kube-root" not in line] == ["+before", "+after"]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await quick.close()


async def test_an_api_server_that_stops_answering_is_noticed(
    api: ApiUnderTest, namespace: str
) -> None:
    client = api.client("admin", call_timeout_s=1.0)
    await client.create(config_map(namespace, "a"))
    api.pause()
    try:
        with pytest.raises(Exception, match="did not answer in time"):
            await client.get(CONFIG_MAP, "a", namespace)
    finally:
        api.resume()
    assert await client.get(CONFIG_MAP, "a", namespace)
    await client.close()


async def test_one_of_two_candidates_leads_and_hands_over(api: ApiUnderTest) -> None:
    clients = [api.client("scheduler") for _ in range(2)]
    leading: list[str] = []

    def lead(name: str) -> Callable[[], Awaitable[None]]:
        async def start() -> None:
            leading.append(name)
            await asyncio.Event().wait()

        return start

    tasks = {}
    for index, client in enumerate(clients):
        name = f"c{index}"
        elector = LeaderElector(client, name="kube-scheduler", identity=name, retry_period_s=0.2)
        tasks[name] = asyncio.ensure_future(elector.run(lead(name)))
    await eventually(lambda: leading)
    first = leading[0]
    tasks[first].cancel()
    await eventually(lambda: len(leading) == 2)
    assert set(leading) == {"c0", "c1"}
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    for client in clients:
        await client.close()


async def test_events_are_stored_and_counted(client: ApiClient, namespace: str) -> None:
    target = await client.create(config_map(namespace, "a"))
    recorder = EventRecorder(client, "tester")
    sending = asyncio.ensure_future(recorder.run())
    stored: list[Object] = []

    async def read() -> None:
        stored[:] = (await client.list(EVENT, namespace)).items

    for count in (1, 2):
        recorder.event(target, "Normal", "Tested", "it was tested")
        deadline_s = time.monotonic() + 10
        while not stored or stored[0]["count"] != count:
            assert time.monotonic() < deadline_s
            await read()
    assert len(stored) == 1
    assert stored[0]["involvedObject"]["uid"] == target["metadata"]["uid"]
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
