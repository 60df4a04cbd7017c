"""`python -m apiserver` on a real etcd: the whole program as its users meet it."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubraft.api.errors import (
    ApiError,
    ExpiredError,
    ForbiddenError,
    ServiceUnavailableError,
    UnauthorizedError,
)
from kubraft.api.gvk import CLUSTER_ROLE, CONFIG_MAP, NAMESPACE
from kubraft.api.object import Object
from kubraft.client.client import ApiClient
from tests.apiserver.harness import simple
from tests.apiserver.process import ROOT, ApiProcess
from tests.conformance.storage.etcd import find_etcd, running_etcd
from tests.harness.ports import free_port

pytestmark = pytest.mark.e2e
OBJECTS = "kubraft.v1.Objects"


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_etcd() is None:
        pytest.skip("there is no etcd executable")
    with running_etcd(tmp_path_factory.mktemp("etcd")) as url:
        yield url


@pytest.fixture(scope="module")
def server(etcd: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with ApiProcess(tmp_path_factory.mktemp("api"), etcd) as process:
        process.wait_ready()
        yield process


def client_of(server: ApiProcess, token: str = ApiProcess.admin_token) -> ApiClient:
    return ApiClient(server.target, ca_file=server.pki / "ca.crt", token=token)


def mutual_client(server: ApiProcess, name: str) -> ApiClient:
    pki = server.pki
    return ApiClient(
        server.mutual_target,
        ca_file=pki / "ca.crt",
        cert_file=pki / f"{name}.crt",
        key_file=pki / f"{name}.key",
    )


def grpcurl(server: ApiProcess, *arguments: str, token: str = ApiProcess.admin_token) -> Any:
    executable = shutil.which("grpcurl", path=str(Path(sys.executable).parent)) or shutil.which(
        "grpcurl"
    )
    if executable is None:
        pytest.skip("there is no grpcurl executable")
    command = [executable, "-cacert", str(server.pki / "ca.crt"), "-max-time", "10"]
    command += ["-H", f"authorization: Bearer {token}"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


async def test_bootstrap_makes_namespaces_and_roles(server: ApiProcess) -> None:
    client = client_of(server)
    names = {o["metadata"]["name"] for o in (await client.list(NAMESPACE)).items}
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= names
    roles = {o["metadata"]["name"] for o in (await client.list(CLUSTER_ROLE)).items}
    assert {"cluster-admin", "admin", "edit", "view", "system:kube-scheduler"} <= roles
    await client.close()


async def test_callers_are_told_apart(server: ApiProcess) -> None:
    for client, error in (
        (client_of(server, "wrong"), UnauthorizedError),
        (client_of(server, "bob-token"), ForbiddenError),
        (mutual_client(server, "scheduler"), ForbiddenError),
    ):
        with pytest.raises(error):
            await client.create(simple("ConfigMap", "not-mine"))
        await client.close()
    admin = mutual_client(server, "admin")
    assert (await admin.create(simple("ConfigMap", "mine")))["metadata"]["uid"]
    await admin.close()


def test_grpcurl_lists_describes_puts_gets_and_watches(server: ApiProcess) -> None:
    target = server.target
    assert OBJECTS in grpcurl(server, target, "list").stdout.split()
    assert "rpc Watch" in grpcurl(server, target, "describe", OBJECTS).stdout
    obj = {"kind": "ConfigMap", "metadata": {"name": "by-hand"}, "data": {"a": "1"}}
    put = grpcurl(server, "-d", json.dumps({"object": obj}), target, f"{OBJECTS}/Put")
    assert put.returncode == 0, put.stderr
    assert json.loads(put.stdout)["object"]["metadata"]["namespace"] == "default"
    query: dict[str, Any] = {"kind": "ConfigMap", "name": "by-hand"}
    got = grpcurl(server, "-d", json.dumps(query), target, f"{OBJECTS}/Get")
    assert json.loads(got.stdout)["object"]["data"] == {"a": "1"}
    query = {"kind": "ConfigMap", "fieldSelector": "metadata.name=by-hand", "timeoutSeconds": 1}
    watched = grpcurl(server, "-d", json.dumps(query), target, f"{OBJECTS}/Watch")
    assert json.loads(watched.stdout)["type"] == "ADDED"
    missing = grpcurl(server, "-d", '{"kind":"Pod","name":"nope"}', target, f"{OBJECTS}/Get")
    assert 'pods "nope" not found' in missing.stderr
    health = grpcurl(server, target, "grpc.health.v1.Health/Check")
    assert json.loads(health.stdout)["status"] == "SERVING"


def test_the_lines_of_the_docs_work_as_they_stand(server: ApiProcess) -> None:
    text = (ROOT / "docs" / "grpc.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("call ")]
    assert len(lines) == 8
    for line in lines:
        words = shlex.split(line.replace("$at", server.target).replace("$api", OBJECTS))[1:]
        endless = ["-max-time", "1"] if words[-1].endswith("/Watch") else []
        run = grpcurl(server, *endless, *words)
        assert run.returncode == 0 or (endless and "DeadlineExceeded" in run.stderr), run.stderr


@pytest.mark.parametrize(
    ("path", "token", "status", "text"),
    [
        pytest.param("/livez", "", 200, "ok", id="live"),
        pytest.param("/readyz?verbose", "", 200, "[+]informer-sync ok", id="ready in detail"),
        pytest.param("/healthz/etcd", "", 200, "ok", id="one check"),
        pytest.param("/version", "", 200, '"minor": "37"', id="version"),
        pytest.param("/metrics", "", 403, "system:anonymous", id="metrics for nobody"),
        pytest.param("/metrics", "bob-token", 403, "cannot get path", id="metrics for bob"),
        pytest.param("/metrics", ApiProcess.admin_token, 200, "process_cpu_seconds", id="metrics"),
        pytest.param("/metrics", "wrong", 401, "Unauthorized", id="metrics for a stranger"),
        pytest.param("/../etc/passwd", "", 403, "cannot get path", id="other paths"),
        pytest.param("/nowhere", ApiProcess.admin_token, 404, "not found", id="no such path"),
        pytest.param("/api/v1/pods", "", 403, "system:anonymous", id="pods for nobody"),
    ],
)
def test_probes(server: ApiProcess, path: str, token: str, status: int, text: str) -> None:
    got, body = server.http(path, token)
    assert (got, text in body) == (status, True), body


async def test_a_write_shows_in_the_metrics_of_admission(server: ApiProcess) -> None:
    client = client_of(server)
    await client.create(simple("ConfigMap", "counted"))
    await client.close()
    name = "apiserver_admission_step_admission_duration_seconds_count"
    _, body = server.http("/metrics", ApiProcess.admin_token)
    for step in ("admit", "validate"):
        assert f'{name}{{type="{step}",operation="CREATE",rejected="false"}} ' in body


async def test_replicas_show_each_others_writes_at_once(
    server: ApiProcess, etcd: str, tmp_path: Path
) -> None:
    with ApiProcess(tmp_path, etcd, name="a1") as other:
        other.wait_ready()
        clients = [client_of(server), client_of(other)]
        for number in range(30):
            writer, reader = clients[number % 2], clients[1 - number % 2]
            obj = await writer.create(simple("ConfigMap", f"shared-{number}"))
            assert await reader.get(CONFIG_MAP, f"shared-{number}", "default") == obj
            obj["data"] = {"n": str(number)}
            updated = await reader.update(obj)
            found = await writer.list(CONFIG_MAP, field_selector=f"metadata.name=shared-{number}")
            assert found.items == [updated]
        for client in clients:
            await client.close()


async def test_replicas_share_ports_and_one_may_die(etcd: str, tmp_path: Path) -> None:
    first = ApiProcess(tmp_path, etcd)
    second = ApiProcess(tmp_path, etcd, name="a1", like=first)
    with first, second:
        first.wait_ready()
        second.wait_ready()
        clients = [client_of(first) for _ in range(8)]
        for number, client in enumerate(clients):
            await client.create(simple("ConfigMap", f"twin-{number}"))
        first.kill()
        async with asyncio.timeout(10):
            for number, client in enumerate(clients):
                await got(client, f"twin-{number}")
                await client.close()


async def got(client: ApiClient, name: str) -> Object:
    """A read of a client whose server may just have died."""
    while True:
        try:
            return await client.get(CONFIG_MAP, name, "default")
        except ServiceUnavailableError:
            await asyncio.sleep(0.05)


def test_a_port_that_is_taken_is_one_line_and_status_1(etcd: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        for flag in ("--secure-port", "--grpc-port", "--grpc-mtls-port"):
            command = [*ApiProcess(tmp_path, etcd).command, flag, port]
            run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            assert run.returncode == 1, flag
            assert "Traceback" not in run.stderr, run.stderr
            assert port in run.stderr.splitlines()[-1], run.stderr


async def test_a_watch_resumes_after_a_kill_without_gap_or_repeat(
    etcd: str, tmp_path: Path
) -> None:
    first = ApiProcess(tmp_path, etcd)
    with first:
        first.wait_ready()
        client = client_of(first)
        made = [await client.create(simple("ConfigMap", f"r{n}")) for n in range(5)]
        await client.close()
        first.kill()
    second = ApiProcess(tmp_path, etcd, name="a1", like=first)
    with second:
        second.wait_ready()
        client = client_of(second)
        made += [await client.create(simple("ConfigMap", f"r{n}")) for n in range(5, 10)]
        version = made[1]["metadata"]["resourceVersion"]
        seen: list[Object] = []
        async with asyncio.timeout(20):
            async for event in client.watch(CONFIG_MAP, "default", resource_version=version):
                seen.append(event.object)
                if len(seen) == 8:
                    break
        assert seen == made[2:]
        await client.close()


async def test_a_watch_of_compacted_history_is_expired(etcd: str, tmp_path: Path) -> None:
    with ApiProcess(tmp_path, etcd) as server:
        server.wait_ready()
        client = client_of(server)
        obj = await client.create(simple("ConfigMap", "compacted"))
        version = obj["metadata"]["resourceVersion"]
        for number in range(3):
            obj = await client.update({**obj, "data": {"n": str(number)}})
        server.kill()
        await compact(etcd, int(obj["metadata"]["resourceVersion"]))
        server.start()
        server.log.write_text("")
        server.wait_ready()
        with pytest.raises(ExpiredError):
            await anext(client.watch(CONFIG_MAP, "default", resource_version=version))
        await client.close()


async def compact(url: str, revision: int) -> None:
    from apiserver.storage.endpoints import Endpoints
    from apiserver.storage.etcd_store import EtcdStore

    store = EtcdStore(Endpoints([url]))
    await store.compact(revision)
    await store.close()


async def test_without_the_store_writes_fail_soon_and_old_reads_go_on(tmp_path: Path) -> None:
    if find_etcd() is None:
        pytest.skip("there is no etcd executable")
    folder = tmp_path / "store"
    folder.mkdir()
    with running_etcd(folder) as url, ApiProcess(tmp_path, url) as server:
        server.wait_ready()
        client = client_of(server)
        await client.create(simple("ConfigMap", "before"))
        await client.get(CONFIG_MAP, "before", "default")
        stop(folder)
        async with asyncio.timeout(8):
            with pytest.raises(ServiceUnavailableError, match="the store does not answer"):
                await client.create(simple("ConfigMap", "after"))
        listing = await client.list(CONFIG_MAP, resource_version="0")
        assert "before" in {o["metadata"]["name"] for o in listing.items}
        status, text = server.http("/readyz?verbose")
        assert status == 500
        assert "[-]etcd failed" in text
        assert server.http("/livez")[0] == 200
        await client.close()


def stop(folder: Path) -> None:
    """Kill the etcd whose data is in `folder`."""
    import psutil

    for process in psutil.Process().children():
        if str(folder / "etcd") in process.cmdline():
            process.kill()
            process.wait()


async def test_sigterm_ends_watches_and_the_process(etcd: str, tmp_path: Path) -> None:
    with ApiProcess(tmp_path, etcd) as server:
        server.wait_ready()
        client = client_of(server)
        watching = client.watch(CONFIG_MAP, resource_version="0", send_initial_events=True)
        await anext(watching)
        ending = asyncio.get_running_loop().run_in_executor(None, server.terminate)
        with pytest.raises(ApiError):
            async for _ in watching:
                pass
        assert await ending == 0
        assert "Traceback" not in server.log.read_text()
        await client.close()


@pytest.mark.parametrize(
    ("flag", "value", "text"),
    [
        pytest.param("--tls-cert-file", "/nowhere.crt", "/nowhere.crt", id="no certificate"),
        pytest.param("--token-auth-file", "/nowhere.csv", "/nowhere.csv", id="no token file"),
        pytest.param("--etcd-servers", "ftp://x", "not an http:// or https:// URL", id="bad URL"),
        pytest.param("--service-cluster-ip-range", "x", "'x' does not appear", id="bad network"),
    ],
)
def test_a_bad_flag_is_one_line_and_status_1(
    server: ApiProcess, flag: str, value: str, text: str
) -> None:
    command = [*server.command, flag, value, "--secure-port", str(free_port())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert text in run.stderr
    assert len(run.stderr.splitlines()) == 1, run.stderr
