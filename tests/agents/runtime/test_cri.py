"""CRI v1 over the real socket, real processes; once in namespaces and once without."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from agents.runtime.process_tree import children
from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.runtime.containerd_process import ContainerdProcess
from tests.agents.runtime.runtime_process import Cri, RuntimeProcess, is_alive, running, until

pytestmark = pytest.mark.e2e

Node = tuple[RuntimeProcess, Cri]
AnyNode = tuple[RuntimeProcess | ContainerdProcess, Cri]


@pytest.fixture(params=["auto", "none"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Node]:
    async with running(tmp_path, isolation=request.param) as pair:
        yield pair


@pytest.fixture(params=["auto", "none", "containerd"])
def given_runtime(request: pytest.FixtureRequest) -> str | ContainerdProcess:
    if request.param != "containerd":
        return str(request.param)
    shared: ContainerdProcess = request.getfixturevalue("containerd")
    return shared


@pytest.fixture
async def any_node(
    given_runtime: str | ContainerdProcess, tmp_path: Path
) -> AsyncIterator[AnyNode]:
    """What CRI promises, of every runtime."""
    if isinstance(given_runtime, str):
        async with running(tmp_path, isolation=given_runtime) as pair:
            yield pair
        return
    async with given_runtime.connected() as client:
        yield given_runtime, client


@pytest.fixture
async def isolated(tmp_path: Path) -> AsyncIterator[Cri]:
    async with running(tmp_path) as (_process, client):
        status = await client.runtime.Status(cri.StatusRequest(verbose=True))
        if '"isolated": true' not in status.info["config"]:
            pytest.skip("this user may not have namespaces here")
        yield client


def http_get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def served(url: str) -> tuple[int, str]:
    """The answer of a server that may still be starting."""
    for _attempt in range(500):
        try:
            return await asyncio.to_thread(http_get, url)
        except OSError:
            await asyncio.sleep(0.01)
    raise AssertionError(f"{url} does not answer")


async def failure(call: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_version_and_status_say_ready(any_node: AnyNode) -> None:
    process, client = any_node
    version = await client.runtime.Version(cri.VersionRequest())
    assert (version.runtime_name, version.runtime_api_version) == (process.name, "v1")
    status = await client.runtime.Status(cri.StatusRequest())
    assert all(condition.status for condition in status.status.conditions)


async def test_a_container_runs_logs_and_completes(any_node: AnyNode) -> None:
    _, client = any_node
    sandbox = await client.sandbox()
    container = await client.run(
        sandbox,
        "sh",
        "-c",
        "echo $GREETING; echo oops >&2",
        envs=[cri.KeyValue(key="GREETING", value=b"hi")],
    )
    status = await client.exited(container)
    assert (status.exit_code, status.reason) == (0, "Completed")
    # containerd may note the start of a short program after its end.
    assert 0 < status.created_at <= min(status.started_at, status.finished_at)
    lines = client.log().splitlines()
    # containerd leaves out zeros at the end of a fraction.
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z (stdout|stderr) F .*"
    assert all(re.fullmatch(form, line) for line in lines)
    assert sorted(line.split(" ", 1)[1] for line in lines) == ["stderr F oops", "stdout F hi"]


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        pytest.param("exit 3", 3, "Error", id="exit status"),
        pytest.param("kill -9 $$", 137, "Error", id="killed by a signal"),
        pytest.param("kill -TERM $$", 143, "Error", id="terminated by itself"),
    ],
)
async def test_exit_codes(any_node: AnyNode, command: str, code: int, reason: str) -> None:
    _, client = any_node
    container = await client.run(await client.sandbox(), "sh", "-c", command)
    status = await client.exited(container)
    assert (status.exit_code, status.reason) == (code, reason)


async def test_a_program_that_is_not_there_is_a_start_error(any_node: AnyNode) -> None:
    _, client = any_node
    container = await client.create(await client.sandbox(), "no-such-program")
    error = await failure(client.start(container))
    assert 'exec: "no-such-program": executable file not found in $PATH' in (error.details() or "")
    status = await client.status(container)
    assert (status.state, status.exit_code) == (cri.CONTAINER_EXITED, 128)
    assert (status.reason, status.started_at) == ("StartError", 0)


async def test_a_start_that_nobody_waits_for_leaves_no_process(node: Node) -> None:
    process, client = node
    sandbox = await client.sandbox()
    container = await client.create(sandbox, "sleep", "1000")
    (nursery,) = children(process.pid)
    os.kill(nursery, signal.SIGSTOP)
    try:
        request = cri.StartContainerRequest(container_id=container)
        calls = {client.runtime.StartContainer(request) for _ in range(2)}
        # Of two, the one that is refused says that the other was taken up.
        waiting = {asyncio.ensure_future(_answered(call)): call for call in calls}
        done, _ = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [grpc.StatusCode.FAILED_PRECONDITION]
        for task, call in waiting.items():
            call.cancel()
            await asyncio.wait({task})
    finally:
        os.kill(nursery, signal.SIGCONT)
    await until(lambda: len(process.marked()) > 1)
    await client.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    await until(lambda: process.marked() == [nursery])


async def _answered(call: object) -> grpc.StatusCode:
    try:
        await call  # type: ignore[misc]
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_an_execution_that_nobody_waits_for_is_killed(node: Node) -> None:
    process, client = node
    container = await client.run(await client.sandbox(), "sleep", "1000")
    before = set(process.marked())
    request = cri.ExecSyncRequest(container_id=container, cmd=["sleep", "1001"])
    call = client.runtime.ExecSync(request)
    await until(lambda: set(process.marked()) > before)
    call.cancel()
    await until(lambda: set(process.marked()) == before)


@pytest.mark.parametrize("cause", ["no program", "no log"])
async def test_starts_that_fail_leave_no_descriptor(node: Node, cause: str) -> None:
    process, client = node
    sandbox = await client.sandbox()
    descriptors = Path(f"/proc/{process.pid}/fd")
    counts: list[int] = []
    for attempt in range(5):
        program = "no-such-program" if cause == "no program" else "true"
        container = await client.create(sandbox, program, stdin=True, attempt=attempt)
        if cause == "no log":
            shutil.rmtree(process.logs / "web" / "main")
        await failure(client.start(container))
        counts.append(len(list(descriptors.iterdir())))
    # The last container's channel closes when its end is read.
    await until(lambda: len(list(descriptors.iterdir())) <= counts[0])


async def test_the_environment_is_the_pods_own(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    _, client = node
    container = await client.run(await client.sandbox(), "env")
    await client.exited(container)
    names = {line.partition("=")[0] for line in client.lines()}
    assert names <= {
        "PATH", "HOME", "HOSTNAME", "KUBRAFT_POD_NAME", "KUBRAFT_POD_NAMESPACE", "KUBRAFT_POD_IP",
        "KUBRAFT_IMAGE", "KUBRAFT_RUNTIME_ROOT", "PWD", "_", "SHLVL",
    }  # fmt: skip


async def test_long_lines_are_split_into_parts(any_node: AnyNode) -> None:
    process, client = any_node
    command = "head -c 40000 /dev/zero | tr '\\0' x; echo; printf end"
    await client.exited(await client.run(await client.sandbox(), "sh", "-c", command))
    fields = [line.split(" ", 3) for line in client.log().splitlines()]
    assert [(f[2], len(f[3])) for f in fields] == [
        ("P", 16384),
        ("P", 16384),
        ("F", 7232),
        # Of a line that never ended it is not said that it did, by containerd.
        ("P" if process.name == "containerd" else "F", 3),
    ]


async def test_stop_sends_the_signal_then_kills_after_the_timeout(any_node: AnyNode) -> None:
    _, client = any_node
    sandbox = await client.sandbox()
    polite = await client.run(
        sandbox, "sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    )
    stubborn = await client.run(
        sandbox, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done", name="stubborn"
    )
    await until(lambda: client.lines() and client.lines(container="stubborn"))
    await client.stop(polite, 10)
    assert (await client.status(polite)).exit_code == 7
    assert client.lines()[-1] == "bye"
    await client.stop(stubborn, 1)
    assert (await client.status(stubborn)).exit_code == 137


async def test_the_stop_signal_can_be_chosen(node: Node) -> None:
    _, client = node
    command = "trap 'exit 5' USR1; echo up; while :; do sleep 0.05; done"
    container = await client.run(
        await client.sandbox(), "sh", "-c", command, stop_signal=cri.SIGNAL_SIGUSR1
    )
    await until(client.lines)
    await client.stop(container, 10)
    assert (await client.status(container)).exit_code == 5


async def test_a_profile_that_nobody_loads_is_refused(node: Node) -> None:
    _, client = node
    profile = cri.SecurityProfile(
        profile_type=cri.SecurityProfile.Localhost, localhost_ref="/a.json"
    )
    security = cri.LinuxContainerSecurityContext(seccomp=profile)
    linux = cri.LinuxContainerConfig(security_context=security)
    with pytest.raises(grpc.aio.AioRpcError, match='seccomp profile "/a.json" cannot be loaded'):
        await client.create(await client.sandbox(), "true", linux=linux)


async def test_each_sandbox_has_an_address_of_the_range(any_node: AnyNode) -> None:
    process, client = any_node
    sandboxes = [await client.sandbox(f"pod-{n}") for n in range(5)]
    addresses = [await client.address(sandbox) for sandbox in sandboxes]
    assert len(set(addresses)) == 5
    assert all(a.startswith(process.cidr.rpartition(".")[0]) for a in addresses)


async def test_web_answers_with_pod_and_tag_and_stops_gracefully(any_node: AnyNode) -> None:
    _, client = any_node
    sandbox = await client.sandbox("web-1")
    address = await client.address(sandbox)
    container = await client.run(sandbox, image="kubraft/web:v2")
    status, text = await served(f"http://{address}:8080/")
    assert status == 200
    assert "pod: web-1\n" in text
    assert "version: v2\n" in text
    assert await served(f"http://{address}:8080/healthz") == (200, "ok\n")
    stopping = asyncio.create_task(client.stop(container, 10))

    for _attempt in range(500):
        if (await served(f"http://{address}:8080/readyz"))[0] == 503:
            break
    assert (await served(f"http://{address}:8080/"))[0] == 200, "the lame duck goes on serving"
    await stopping
    status_after = await client.status(container)
    assert (status_after.exit_code, status_after.reason) == (0, "Completed")


@pytest.mark.parametrize("image", ["registry.k8s.io/pause:3.10", "docker.io/library/pause"])
async def test_pause_stops_at_once(any_node: AnyNode, image: str) -> None:
    process, client = any_node
    container = await client.run(await client.sandbox(), image=image)
    await client.stop(container, 30)
    # A shell may be asked before it has said what it does then.
    codes = {0, 143} if process.name == "containerd" else {0}
    assert (await client.status(container)).exit_code in codes


async def test_python_and_nginx_stand_ins(any_node: AnyNode) -> None:
    process, client = any_node
    sandbox = await client.sandbox()
    container = await client.run(sandbox, "python3", "-c", "print(6 * 7)", image="python:3.12")
    assert (await client.exited(container)).exit_code == 0
    assert client.lines() == ["42"]
    await client.run(sandbox, image="nginx", name="nginx")
    address = await client.address(sandbox)
    for _attempt in range(200):
        for port in (80, 8080):
            try:
                status, text = await asyncio.to_thread(http_get, f"http://{address}:{port}/")
            except OSError:
                await asyncio.sleep(0.01)
            else:
                assert (status, "Welcome to nginx!" in text) == (200, True)
                return
    raise AssertionError(f"nginx does not answer on {address} of {process.cidr}")


async def test_exec_sync(any_node: AnyNode) -> None:
    _, client = any_node
    container = await client.run(
        await client.sandbox(), "sleep", "1000", envs=[cri.KeyValue(key="A", value=b"b")]
    )
    answer = await client.execute(container, "sh", "-c", "echo $A; echo no >&2; exit 3")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"b\n", b"no\n", 3)
    error = await failure(client.execute(container, "sleep", "100", timeout_s=1))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    error = await failure(client.execute(container, "nope"))
    assert "executable file not found" in (error.details() or "")
    await client.stop(container)
    error = await failure(client.execute(container, "true"))
    assert "is in CONTAINER_EXITED state" in (error.details() or "")


async def test_removing_is_idempotent_and_kills(any_node: AnyNode) -> None:
    process, client = any_node
    sandbox = await client.sandbox()
    container = await client.run(sandbox, "sleep", "1000")
    pid = await client.pid(container)
    for _again in range(2):
        await client.runtime.RemoveContainer(cri.RemoveContainerRequest(container_id=container))
        # Whether one that is gone can be stopped CRI leaves open.
        with contextlib.suppress(grpc.aio.AioRpcError):
            await client.stop(container)
    await until(lambda: not is_alive(pid))
    assert (await failure(client.status(container))).code() == grpc.StatusCode.NOT_FOUND
    await client.run(sandbox, "sleep", "1000", attempt=1)
    for _again in range(2):
        await client.runtime.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    listed = await client.runtime.ListPodSandbox(cri.ListPodSandboxRequest())
    assert [item.state for item in listed.items] == [cri.SANDBOX_NOTREADY]
    for _again in range(2):
        await client.runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    assert not (await client.runtime.ListPodSandbox(cri.ListPodSandboxRequest())).items
    assert not (await client.runtime.ListContainers(cri.ListContainersRequest())).containers
    if process.name == "process":
        assert not list((process.root / "containers").iterdir())


async def test_names_are_reserved_and_states_are_checked(any_node: AnyNode) -> None:
    _, client = any_node
    sandbox = await client.sandbox()
    container = await client.run(sandbox, "sleep", "1000")
    assert "is reserved for" in str((await failure(client.create(sandbox, "true"))).details())
    assert "is in CONTAINER_RUNNING state" in str(
        (await failure(client.start(container))).details()
    )
    assert "is reserved for" in str((await failure(client.sandbox())).details())
    assert (await failure(client.create("nope", "true"))).code() == grpc.StatusCode.NOT_FOUND


async def test_events_tell_the_life_of_a_container(node: Node) -> None:
    _, client = node
    stream = client.runtime.GetContainerEvents(cri.GetEventsRequest())
    await stream.initial_metadata()
    sandbox = await client.sandbox()
    container = await client.run(sandbox, "true")
    await client.exited(container)
    await client.runtime.RemoveContainer(cri.RemoveContainerRequest(container_id=container))
    kinds = []
    async for event in stream:
        if event.container_id == container:
            kinds.append(event.container_event_type)
            assert event.pod_sandbox_status.id == sandbox
        if kinds and kinds[-1] == cri.CONTAINER_DELETED_EVENT:
            break
    assert kinds == [0, 1, 2, 3]
    stream.cancel()


async def test_filters(any_node: AnyNode) -> None:
    _, client = any_node
    one, two = await client.sandbox("one"), await client.sandbox("two")
    first = await client.run(one, "sleep", "1000", labels={"app": "a"})
    await client.exited(await client.run(two, "true", labels={"app": "b"}))

    async def listed(**wanted: object) -> list[str]:
        request = cri.ListContainersRequest(filter=cri.ContainerFilter(**wanted))  # type: ignore[arg-type]
        return [c.id for c in (await client.runtime.ListContainers(request)).containers]

    assert await listed(pod_sandbox_id=one) == [first]
    assert await listed(label_selector={"app": "a"}) == [first]
    assert await listed(state=cri.ContainerStateValue(state=cri.CONTAINER_RUNNING)) == [first]
    assert await listed(id=first[:12]) == [first]
    assert len(await listed()) == 2


async def test_log_rotation_by_rename_and_reopen(any_node: AnyNode) -> None:
    process, client = any_node
    container = await client.run(
        await client.sandbox(), "sh", "-c", "while :; do echo tick; sleep 0.02; done"
    )
    await until(client.lines)
    path = process.logs / "web" / "main" / "0.log"
    path.rename(path.with_suffix(".old"))
    request = cri.ReopenContainerLogRequest(container_id=container)
    await client.runtime.ReopenContainerLog(request)
    await until(lambda: path.exists() and path.read_text())


async def test_statistics_show_cpu_and_memory(any_node: AnyNode) -> None:
    _, client = any_node
    sandbox = await client.sandbox()
    container = await client.run(sandbox, "sh", "-c", "while :; do :; done")

    async def cpu_ns() -> int:
        request = cri.ContainerStatsRequest(container_id=container)
        stats = (await client.runtime.ContainerStats(request)).stats
        assert stats.memory.working_set_bytes.value > 100_000
        return stats.cpu.usage_core_nano_seconds.value

    for _attempt in range(300):
        if await cpu_ns() > 0:
            break
        await asyncio.sleep(0.02)
    pod = cri.PodSandboxStatsRequest(pod_sandbox_id=sandbox)
    stats = (await client.runtime.PodSandboxStats(pod)).stats
    assert stats.linux.cpu.usage_core_nano_seconds.value > 0
    assert stats.linux.process.process_count.value >= 1


async def test_an_unknown_image_is_not_found_and_says_what_there_is(any_node: AnyNode) -> None:
    process, client = any_node
    spec = cri.ImageSpec(image="example.com/app:v1")
    error = await failure(client.images.PullImage(cri.PullImageRequest(image=spec)))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert "example.com/app:v1: not found" in (error.details() or "")
    if process.name == "process":
        assert "kubraft/web" in (error.details() or "")
    assert not (await client.images.ImageStatus(cri.ImageStatusRequest(image=spec))).HasField(
        "image"
    )


async def test_a_known_image_has_an_id_a_tag(any_node: AnyNode) -> None:
    _, client = any_node
    ids = set()
    for tag in ("v1", "v2"):
        spec = cri.ImageSpec(image=f"kubraft/web:{tag}")
        reference = (await client.images.PullImage(cri.PullImageRequest(image=spec))).image_ref
        image = (await client.images.ImageStatus(cri.ImageStatusRequest(image=spec))).image
        assert image.id == reference
        assert image.repo_tags == [f"docker.io/kubraft/web:{tag}"]
        ids.add(reference)
    assert len(ids) == 2


async def test_the_socket_is_the_users_alone(node: Node) -> None:
    process, _ = node
    path = Path(process.endpoint.removeprefix("unix://"))
    assert path.stat().st_mode & 0o777 == 0o600


async def test_volumes_are_mounted_where_the_pod_wants_them(isolated: Cri, tmp_path: Path) -> None:
    data, secret = tmp_path / "data", tmp_path / "secret"
    data.mkdir()
    secret.mkdir()
    (secret / "key").write_text("value")
    mounts = [
        cri.Mount(host_path=str(data), container_path="/data/deep/down"),
        cri.Mount(host_path=str(secret), container_path="/etc/config", readonly=True),
        cri.Mount(
            host_path=str(secret / "key"), container_path="/usr/share/one/key", readonly=True
        ),
        cri.Mount(host_path=str(secret), container_path="/tmp/secret", readonly=True),
        cri.Mount(
            host_path=str(secret), container_path="/var/run/secrets/kubernetes.io/serviceaccount"
        ),
    ]
    command = (
        "cat /etc/config/key /usr/share/one/key /tmp/secret/key "
        "/var/run/secrets/kubernetes.io/serviceaccount/key; echo; echo new > /data/deep/down/file; "
        "echo x > /etc/config/key; test -r /etc/passwd && echo etc; ls /usr/bin/env"
    )
    container = await isolated.run(await isolated.sandbox(), "sh", "-c", command, mounts=mounts)
    assert (await isolated.exited(container)).exit_code == 0
    assert "valuevaluevaluevalue" in isolated.lines()
    assert any("Read-only file system" in line for line in isolated.lines())
    assert {"etc", "/usr/bin/env"} <= set(isolated.lines())
    assert (data / "file").read_text() == "new\n"
    assert not Path("/etc/config").exists()


async def test_containers_cannot_change_the_host_nor_see_each_other(isolated: Cri) -> None:
    sandbox = await isolated.sandbox()
    one = await isolated.run(sandbox, "sh", "-c", "touch /tmp/mine && sleep 1000")
    two = await isolated.run(
        sandbox,
        *("sh", "-c", "ls /tmp; touch /usr/x; touch /home/x; ps ax | grep -c sleep; hostname"),
        name="two",
    )
    await isolated.exited(two)
    assert isolated.lines(container="two")[-1] == "web"
    assert sum("Read-only file system" in line for line in isolated.lines(container="two")) == 2
    assert not any("mine" in line for line in isolated.lines(container="two"))
    answer = await isolated.execute(one, "ls", "/tmp")
    assert b"mine" in answer.stdout


async def test_without_a_mount_namespace_volumes_are_refused_but_the_token(tmp_path: Path) -> None:
    async with running(tmp_path, isolation="none") as (_process, client):
        sandbox = await client.sandbox()
        token = cri.Mount(
            host_path=str(tmp_path), container_path="/var/run/secrets/kubernetes.io/serviceaccount"
        )
        command = 'echo "$KUBRAFT_SERVICEACCOUNT_DIR"'
        await client.exited(await client.run(sandbox, "sh", "-c", command, mounts=[token]))
        assert client.lines() == [str(tmp_path)]
        data = cri.Mount(host_path=str(tmp_path), container_path="/data")
        error = await failure(client.create(sandbox, "true", name="other", mounts=[data]))
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "cannot mount /data" in (error.details() or "")


async def test_a_mount_without_a_source_is_refused(node: Node) -> None:
    _, client = node
    mount = cri.Mount(host_path="/no/such/path", container_path="/data")
    error = await failure(client.create(await client.sandbox(), "true", mounts=[mount]))
    assert 'failed to stat "/no/such/path"' in (error.details() or "")
