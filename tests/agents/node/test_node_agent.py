"""The node agent as a process: real API server, real store, real runtime, real programs."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest

from agents.node.pod_view import POD_UID
from kubraft.api.conditions import find_condition
from kubraft.api.errors import BadRequestError, ConflictError, NotFoundError
from kubraft.api.gvk import CONFIG_MAP, LEASE, NODE, POD, SECRET
from kubraft.api.object import Object
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.pb.v1 import node_pb2_grpc
from kubraft.pb.v1 import objects_pb2 as pb
from tests.agents.node.node_process import Node, running_node, state
from tests.agents.runtime.runtime_process import Cri, until
from tests.harness.api import ADMIN_TOKEN, ApiUnderTest
from tests.harness.eventually import eventually

pytestmark = pytest.mark.e2e


def http_get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


def phase_is(phase: str) -> Callable[[Object], object]:
    return lambda pod: (pod.get("status") or {}).get("phase") == phase


def restarts(count: int) -> Callable[[Object], object]:
    return lambda pod: state(pod).get("restartCount", 0) >= count


async def configure(node: Node, kind: str, name: str, data: dict[str, str]) -> None:
    field = "stringData" if kind == "Secret" else "data"
    gvk = SECRET if kind == "Secret" else CONFIG_MAP
    metadata = {"name": name, "namespace": "default"}
    with contextlib.suppress(NotFoundError):  # of the same test on another runtime
        await node.client.delete(gvk, name, "default")
    await node.client.create(
        {"apiVersion": "v1", "kind": gvk.kind, "metadata": metadata, field: data}
    )


async def test_the_node_is_registered_and_renews_its_lease(node: Node) -> None:
    found = await node.client.get(NODE, "node-0")
    assert found["metadata"]["labels"]["kubernetes.io/hostname"] == "node-0"
    ready = find_condition(found["status"]["conditions"], "Ready")
    assert ready is not None
    assert ready["status"] == "True"
    first = await node.client.get(LEASE, "node-0", "kube-node-lease")
    assert first["spec"]["holderIdentity"] == "node-0"
    for _attempt in range(100):
        lease = await node.client.get(LEASE, "node-0", "kube-node-lease")
        if lease["spec"]["renewTime"] != first["spec"]["renewTime"]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the lease was not renewed")


async def test_a_deleted_node_object_is_registered_again(node: Node) -> None:
    uid = (await node.client.get(NODE, "node-0"))["metadata"]["uid"]
    await node.client.delete(NODE, "node-0")
    for _attempt in range(100):
        try:
            if (await node.client.get(NODE, "node-0"))["metadata"]["uid"] != uid:
                return
        except NotFoundError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("the node did not register again")


async def test_a_web_pod_serves_and_leaves_gracefully(any_node: Node) -> None:
    node = any_node
    probe = {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1}
    container = {"readinessProbe": probe, "ports": [{"name": "http", "containerPort": 8080}]}
    await node.run(node.pod("web", image="kubraft/web:v7", container=container))
    pod = await node.until_ready("web")
    text = await asyncio.to_thread(http_get, f"http://{pod['status']['podIP']}:8080/")
    assert "pod: web\n" in text
    assert "node: node-0\n" in text
    assert "version: v7\n" in text
    assert pod["status"]["phase"] == "Running"
    assert state(pod)["containerID"].startswith(f"{node.runtime.name}://")
    await node.until_event("web", "Started", "Started container main")
    await node.client.delete(POD, "web", "default")
    await node.until_gone("web")
    await node.until_event("web", "Killing", "Stopping container main")
    client = Cri(node.runtime.endpoint, node.runtime.logs)
    for _attempt in range(100):
        if not (await client.runtime.ListPodSandbox(cri.ListPodSandboxRequest())).items:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("the sandbox is still there")
    await client.channel.close(None)
    await until(lambda: not list((node.root / "pods").iterdir()))


async def test_a_crashing_container_backs_off(any_node: Node) -> None:
    node = any_node
    await node.run(node.pod("crash", "sh", "-c", "echo $KUBRAFT_POD_NAME; exit 3"))
    pod = await node.until("crash", restarts(2))
    assert state(pod)["lastState"]["terminated"]["exitCode"] == 3
    waiting = await node.until("crash", lambda p: "CrashLoopBackOff" in str(state(p).get("state")))
    text = state(waiting)["state"]["waiting"]["message"]
    assert "restarting failed container=main pod=crash_default(" in text
    assert waiting["status"]["phase"] == "Running"
    await node.until_event("crash", "BackOff", "Back-off restarting failed container main")
    assert await node.logs("crash", previous=True) == "crash\n"


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        pytest.param("Never", 0, "Succeeded", id="done"),
        pytest.param("Never", 5, "Failed", id="failed for good"),
        pytest.param("OnFailure", 0, "Succeeded", id="on failure, done"),
    ],
)
async def test_a_pod_that_ends(node: Node, policy: str, code: int, phase: str) -> None:
    await node.run(node.pod("once", "sh", "-c", f"exit {code}", restartPolicy=policy))
    pod = await node.until("once", phase_is(phase))
    assert state(pod)["restartCount"] == 0
    assert state(pod)["state"]["terminated"]["exitCode"] == code


async def test_init_containers_run_in_order_before_the_others(any_node: Node) -> None:
    node = any_node
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}

    def init(name: str, command: str) -> Object:
        return {"name": name, "image": "busybox", "command": ["sh", "-c", command], **mount}

    pod = node.pod(
        "ordered",
        *("sh", "-c", "cat /shared/order; sleep 1000"),
        container=mount,
        initContainers=[
            init("first", "sleep 0.1; echo first >> /shared/order"),
            init("second", "echo second >> /shared/order"),
        ],
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    await node.run(pod)
    ready = await node.until_ready("ordered")
    assert [s["ready"] for s in ready["status"]["initContainerStatuses"]] == [True, True]
    await node.until_logs("ordered", "first\nsecond\n")


async def test_a_failing_init_container_with_never_fails_the_pod(node: Node) -> None:
    init = {"name": "init", "image": "busybox", "command": ["sh", "-c", "exit 9"]}
    pod = node.pod("broken", "sleep", "100", initContainers=[init], restartPolicy="Never")
    await node.run(pod)
    failed = await node.until("broken", phase_is("Failed"))
    assert state(failed, "init", "initContainerStatuses")["state"]["terminated"]["exitCode"] == 9


async def test_a_failing_liveness_probe_restarts_the_container(any_node: Node) -> None:
    node = any_node
    probe = {
        "exec": {"command": ["cat", "/tmp/healthy"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    # It ends well when it is told to, which does not mean that it is done.
    command = "trap 'exit 0' TERM; touch /tmp/healthy; sleep 1.2; rm /tmp/healthy; "
    command += "while :; do sleep 0.05; done"
    pod = node.pod("sick", "sh", "-c", command, container={"livenessProbe": probe})
    pod["spec"] |= {"terminationGracePeriodSeconds": 5, "restartPolicy": "OnFailure"}
    await node.run(pod)
    await node.until("sick", restarts(1))
    await node.until_event("sick", "Unhealthy", "Liveness probe failed: cat: /tmp/healthy")
    message = "Container main failed liveness probe, will be restarted"
    await node.until_event("sick", "Killing", message)


async def test_a_startup_probe_holds_readiness_back(node: Node) -> None:
    def exists(path: str) -> Object:
        return {"exec": {"command": ["test", "-e", path]}, "periodSeconds": 1}

    probes = {"startupProbe": {**exists("/tmp/up"), "failureThreshold": 30}}
    probes["readinessProbe"] = exists("/tmp/ready")
    command = "touch /tmp/ready; sleep 1; touch /tmp/up; sleep 1000"
    await node.run(node.pod("slow", "sh", "-c", command, container=probes))
    running = await node.until("slow", lambda p: "running" in state(p).get("state", {}))
    assert (state(running)["started"], state(running)["ready"]) == (False, False)
    await node.until_ready("slow")


async def test_an_unknown_image_is_explained(any_node: Node) -> None:
    node = any_node
    await node.run(node.pod("nowhere", image="example.com/none:v1"))
    pod = await node.until("nowhere", lambda p: "ImagePullBackOff" in str(state(p).get("state")))
    assert pod["status"]["phase"] == "Pending"
    message = (
        'Back-off pulling image "example.com/none:v1": ErrImagePull: rpc error: code = NotFound'
    )
    assert state(pod)["state"]["waiting"]["message"].startswith(message)
    await node.until_event("nowhere", "Failed", 'Failed to pull image "example.com/none:v1"')
    await node.until_event("nowhere", "Failed", "Error: ErrImagePull")


async def test_missing_configuration_waits_and_then_starts(node: Node) -> None:
    variable = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "a"}}}
    await node.run(
        node.pod("waits", "sh", "-c", "echo $A; sleep 100", container={"env": [variable]})
    )
    pod = await node.until(
        "waits", lambda p: "CreateContainerConfigError" in str(state(p).get("state"))
    )
    assert state(pod)["state"]["waiting"]["message"] == 'configmap "late" not found'
    await configure(node, "ConfigMap", "late", {"a": "now"})
    await node.until_ready("waits")
    await node.until_logs("waits", "now\n")
    await node.client.delete(CONFIG_MAP, "late", "default")


async def test_environment_and_volumes_from_the_api(any_node: Node) -> None:
    node = any_node
    await configure(node, "ConfigMap", "settings", {"colour": "blue", "file.txt": "text"})
    await configure(node, "Secret", "keys", {"password": "hunter2"})
    env = [
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "BOTH", "value": "$(COLOUR)-$$(COLOUR)-$(NONE)"},
    ]
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {
            "name": "about",
            "downwardAPI": {
                "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
            },
        },
    ]
    names = ("settings", "keys", "about")
    mounts = [{"name": name, "mountPath": f"/etc/pod/{name}"} for name in names]
    command = (
        'echo "$COLOUR $PASSWORD $ADDRESS $BOTH"; cat /etc/pod/settings/file.txt; echo; '
        "cat /etc/pod/keys/password; echo; cat /etc/pod/about/labels; echo; "
        "ls /var/run/secrets/kubernetes.io/serviceaccount"
    )
    pod = node.pod(
        "full",
        *("sh", "-c", command),
        metadata={"labels": {"app": "x"}},
        container={"env": env, "volumeMounts": mounts},
        volumes=volumes,
        restartPolicy="Never",
    )
    await node.run(pod)
    done = await node.until("full", phase_is("Succeeded"))
    address = done["status"]["podIP"]
    assert (await node.logs("full")).splitlines() == [
        f"blue hunter2 {address} blue-$(COLOUR)-$(NONE)",
        *("text", "hunter2", 'app="x"', "ca.crt", "namespace", "token"),
    ]
    assert "hunter2" not in node.agent.log()


async def test_a_missing_volume_is_an_event(node: Node) -> None:
    volumes = [{"name": "gone", "configMap": {"name": "absent"}}]
    await node.run(node.pod("stuck", "sleep", "100", volumes=volumes))
    text = 'MountVolume.SetUp failed for volume "gone" : configmap "absent" not found'
    await node.until_event("stuck", "FailedMount", text)
    waiting = state(await node.get("stuck"))["state"]["waiting"]
    assert waiting["reason"] == "ContainerCreating"
    reasons = {reason for reason, _ in await node.events("stuck")}
    assert not reasons & {"Pulling", "Pulled", "Created"}


async def test_deletion_waits_for_the_program_up_to_its_grace(any_node: Node) -> None:
    node = any_node
    trap = "trap 'echo got TERM; sleep 0.3; echo bye; exit 0' TERM; echo up;"
    command = f"{trap} while :; do sleep 0.05; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /proc/1/fd/1 || true"]}}}
    pod = node.pod("polite", "sh", "-c", command, container={"lifecycle": hook})
    pod["spec"]["terminationGracePeriodSeconds"] = 20
    pod["metadata"]["finalizers"] = ["example.com/look"]
    await node.run(pod)
    await node.until_logs("polite", "up\n")  # the trap is set
    await node.client.delete(POD, "polite", "default")
    ended = await node.until("polite", lambda p: "terminated" in state(p).get("state", {}))
    assert state(ended)["state"]["terminated"]["exitCode"] == 0
    assert ended["status"]["phase"] == "Succeeded"
    assert (await node.logs("polite")).splitlines()[-2:] == ["got TERM", "bye"]
    for _attempt in range(20):
        try:
            fresh = await node.get("polite")
            fresh["metadata"].pop("finalizers", None)
            await node.client.update(fresh)
            break
        except ConflictError:
            continue
    await node.until_gone("polite")


async def test_a_shorter_grace_period_cuts_the_wait(any_node: Node) -> None:
    node = any_node
    pod = node.pod("stubborn", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    pod["spec"]["terminationGracePeriodSeconds"] = 300
    await node.run(pod)
    await node.until_ready("stubborn")
    await node.client.delete(POD, "stubborn", "default")
    await node.until_event("stubborn", "Killing", "Stopping container main")
    await node.client.delete(POD, "stubborn", "default", grace_period_s=1)
    await node.until_gone("stubborn", timeout_s=10)


async def test_a_killed_agent_takes_its_pods_up_again_without_restarting_them(
    any_node: Node,
) -> None:
    node = any_node
    probe = {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}
    await node.run(node.pod("stays", image="kubraft/web", container={"readinessProbe": probe}))
    before = await node.until_ready("stays")
    node.agent.kill()
    await asyncio.to_thread(http_get, f"http://{before['status']['podIP']}:8080/")
    node.agent.start()
    await asyncio.to_thread(node.agent.wait_ready)
    await node.run(node.pod("after", "sleep", "1000"))
    await node.until_ready("after")
    pod = await node.get("stays")
    assert state(pod)["containerID"] == state(before)["containerID"]
    assert state(pod)["restartCount"] == 0
    ready = find_condition(pod["status"]["conditions"], "Ready")
    assert ready == find_condition(before["status"]["conditions"], "Ready"), "it never was unready"


async def test_what_was_deleted_while_the_agent_was_dead_is_stopped(any_node: Node) -> None:
    node = any_node
    await node.run(node.pod("leaves", "sleep", "1000"))
    uid = (await node.until_ready("leaves"))["metadata"]["uid"]
    node.agent.kill()
    await node.client.delete(POD, "leaves", "default", grace_period_s=0)
    forgotten = node.root / "pods" / "of-a-pod-that-nobody-knows"
    (forgotten / "volumes").mkdir(parents=True)
    node.agent.start()
    client = Cri(node.runtime.endpoint, node.runtime.logs)
    request = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector={POD_UID: uid}))
    for _attempt in range(200):
        if not (await client.runtime.ListPodSandbox(request)).items:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("the Pod's sandbox is still there")
    await client.channel.close(None)
    await eventually(
        lambda: not forgotten.exists() and not (node.root / "pods" / uid).exists(), timeout_s=20
    )


async def test_a_killed_runtime_has_its_containers_restarted(any_node: Node) -> None:
    node = any_node
    await node.run(node.pod("again", "sh", "-c", "echo life; sleep 1000"))
    await node.until_ready("again")
    node.runtime.kill()
    for _attempt in range(200):
        found = await node.client.get(NODE, "node-0")
        ready = find_condition(found["status"]["conditions"], "Ready")
        if ready and ready["status"] == "False":
            assert "container runtime is down" in ready["message"]
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("the node did not say that its runtime is down")
    await node.runtime.start()
    pod = await node.until(
        "again", lambda p: state(p)["restartCount"] == 1 and "running" in state(p)["state"]
    )
    assert state(pod)["lastState"]["terminated"]["exitCode"] == 255
    await node.until_event("again", "SandboxChanged", "Pod sandbox changed")


async def test_a_runtime_that_hangs_makes_the_node_not_ready(
    api: ApiUnderTest, tmp_path: Path
) -> None:
    flags = ("--runtime-down-after=3s",)
    async with running_node(api, tmp_path / "node", flags=flags) as node:
        await node.run(node.pod("patient", image="kubraft/web"))
        before = await node.until_ready("patient")

        async def told(status: str) -> Object:
            async with asyncio.timeout(60):
                while True:
                    found = await node.client.get(NODE, "node-0")
                    ready = find_condition(found["status"]["conditions"], "Ready")
                    if ready is not None and ready["status"] == status:
                        return ready
                    await asyncio.sleep(0.05)

        os.kill(node.runtime.pid, signal.SIGSTOP)
        try:
            ready = await told("False")
            words = (ready["reason"], ready["message"])
            assert words == ("KubeletNotReady", "container runtime is down")
        finally:
            os.kill(node.runtime.pid, signal.SIGCONT)
        assert (await told("True"))["message"] == "kubelet is posting ready status"
        after = await node.until_ready("patient")
        assert state(after)["containerID"] == state(before)["containerID"]
        await node.client.delete(POD, "patient", "default", grace_period_s=0)


async def test_pods_run_on_while_the_api_server_is_away(node: Node, api: ApiUnderTest) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ok"]}, "periodSeconds": 1}
    pod = node.pod("alone", "sh", "-c", "touch /tmp/ok; sleep 1.5; exit 1", container={
        "readinessProbe": probe
    })  # fmt: skip
    await node.run(pod)
    await node.until_ready("alone")
    api.kill()
    try:
        logs = node.root / "logs"
        await until(lambda: len(list(logs.glob("*alone*/main/*.log"))) >= 2, 20)
    finally:
        api.start()
        await asyncio.to_thread(api.wait_ready)
    await node.until("alone", restarts(1))


async def test_a_pod_that_does_not_fit_is_refused(node: Node) -> None:
    requests = {"resources": {"requests": {"cpu": "100"}}}
    await node.run(node.pod("huge", "sleep", "1", container=requests))
    pod = await node.until("huge", phase_is("Failed"))
    assert pod["status"]["reason"] == "OutOfcpu"
    assert "requested: 100000" in pod["status"]["message"]


async def test_an_active_deadline_ends_the_pod(node: Node) -> None:
    await node.run(node.pod("late", "sleep", "1000", activeDeadlineSeconds=1))
    pod = await node.until("late", phase_is("Failed"))
    assert pod["status"]["reason"] == "DeadlineExceeded"


async def test_the_termination_message_is_in_the_status(any_node: Node) -> None:
    node = any_node
    command = "echo the cause > /dev/termination-log; exit 1"
    await node.run(node.pod("says", "sh", "-c", command, restartPolicy="Never"))
    pod = await node.until("says", phase_is("Failed"))
    assert state(pod)["state"]["terminated"]["message"] == "the cause\n"


async def test_logs(any_node: Node) -> None:
    node = any_node
    command = "for i in 1 2 3 4 5; do echo line $i; done; sleep 0.5; echo last; exit 0"
    pod = node.pod("talks", "sh", "-c", command, restartPolicy="Never")
    await node.run(pod)
    await node.until("talks", lambda p: "running" in state(p).get("state", {}))
    followed = await node.logs("talks", follow=True)
    lines = [f"line {n}" for n in range(1, 6)] + ["last"]
    assert followed.splitlines() == lines
    assert (await node.logs("talks", tail_lines=2)).splitlines() == lines[-2:]
    assert await node.logs("talks", limit_bytes=9) == "line 1\nli"
    assert (await node.logs("talks", timestamps=True)).split(" ")[0].endswith("Z")
    assert await node.logs("talks", since_s=3600) == followed
    with pytest.raises(BadRequestError, match="previous terminated container"):
        await node.logs("talks", previous=True)


async def test_only_the_api_server_may_ask_for_logs(node: Node, api: ApiUnderTest) -> None:
    def channel(name: str) -> grpc.aio.Channel:
        files = [Path(path).read_bytes() for path in api.credentials(name).values()]
        credentials = grpc.ssl_channel_credentials(files[0], files[2], files[1])
        return grpc.aio.secure_channel(f"127.0.0.1:{node.port}", credentials)

    request = pb.LogsRequest(namespace="../..", pod="../../etc", container="passwd")
    for name, code in (
        ("admin", grpc.StatusCode.PERMISSION_DENIED),
        ("node-1", grpc.StatusCode.PERMISSION_DENIED),
        ("apiserver-kubelet-client", grpc.StatusCode.NOT_FOUND),
    ):
        async with channel(name) as connection:
            stub = node_pb2_grpc.NodeAgentStub(connection)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _chunk in stub.Logs(request):
                    pass
            assert caught.value.code() == code


async def test_streams_go_through_the_agents_port(any_node: Node, api: ApiUnderTest) -> None:
    node = any_node
    script = "while read line; do echo heard $line; done"
    await node.run(node.pod("talks", "sh", "-c", script, container={"stdin": True}))
    await node.until_ready("talks")
    files = api.credentials("apiserver-kubelet-client")
    tls = ssl.create_default_context(cafile=files["ca_file"])
    tls.load_cert_chain(files["cert_file"], files["key_file"])
    url = f"https://127.0.0.1:{node.port}"
    # The runtime speaks the protocol; containerd 1.6 has none newer, and wants an origin.
    protocol = {"process": "v5", "containerd": "v4"}[node.runtime.name] + ".channel.k8s.io"
    async with aiohttp.ClientSession() as session:

        async def connect(path: str) -> Any:
            return await session.ws_connect(
                url + path, ssl=tls, protocols=(protocol,), max_msg_size=0, origin=url
            )

        async with await connect(
            "/exec/default/talks/main?command=printenv&command=HOSTNAME&output=1"
        ) as socket:
            messages = [message.data async for message in socket]
        assert messages[:2] == [b"\x01", b"\x01talks\n"]
        assert b'"Success"' in messages[-1]
        async with await connect("/attach/default/talks/main?input=1&output=1") as socket:
            await socket.send_bytes(b"\x00this\n")
            assert (await socket.receive()).data == b"\x01"
            assert (await socket.receive()).data == b"\x01heard this\n"
        path = "/containerLogs/default/talks/main"
        async with session.get(url + path, ssl=tls) as answer:
            assert (answer.status, await answer.text()) == (200, "heard this\n")


def asked(node: Node, path: str, **given: str) -> tuple[int, str]:
    """Status and body of one request, with a certificate (`name`) or a `token`."""
    context = ssl.create_default_context(cafile=node.api.pki / "ca.crt")
    if name := given.get("name"):
        context.load_cert_chain(node.api.pki / f"{name}.crt", node.api.pki / f"{name}.key")
    headers = {"Authorization": f"Bearer {given['token']}"} if "token" in given else {}
    connection = http.client.HTTPSConnection("127.0.0.1", node.port, context=context, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def test_usage_is_told_to_who_may_read_it(any_node: Node) -> None:
    node = any_node
    command = "while true; do :; done"
    await node.run(node.pod("busy", "sh", "-c", command))
    await node.until("busy", lambda p: "running" in state(p).get("state", {}))
    labels = '{container="main",namespace="default",pod="busy"}'
    line = re.compile(re.escape(f"container_cpu_usage_seconds_total{labels} ") + r"(\S+) \d+")

    async def cpu_s() -> float:
        status, text = await asyncio.to_thread(asked, node, "/metrics/resource", name="admin")
        assert status == 200
        found = line.search(text)
        return float(found[1]) if found else 0.0

    async with asyncio.timeout(60):
        while await cpu_s() < 0.2:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    _, text = await asyncio.to_thread(asked, node, "/metrics/resource", token=ADMIN_TOKEN)
    values = dict(re.findall(r"^([a-z_]+)(?:\{[^}]*\})? (\S+)", text, re.MULTILINE))
    assert values["resource_scrape_error"] == values["scrape_error"] == "0"
    assert float(values["container_memory_working_set_bytes"]) > 100_000
    assert float(values["pod_cpu_usage_seconds_total"]) >= 0.2
    assert float(values["node_cpu_usage_seconds_total"]) > 1
    assert float(values["node_memory_working_set_bytes"]) > 1_000_000
    assert abs(float(values["container_start_time_seconds"]) - time.time()) < 3600
    status, body = await asyncio.to_thread(asked, node, "/stats/summary", name="admin")
    assert status == 200
    summary = json.loads(body)
    assert summary["node"]["nodeName"] == "node-0"
    (pod,) = [p for p in summary["pods"] if p["podRef"]["name"] == "busy"]
    assert pod["containers"][0]["cpu"]["usageCoreNanoSeconds"] >= 200_000_000
    status, text = await asyncio.to_thread(asked, node, "/metrics/resource", name="scheduler")
    assert status == 403
    asked_for = "verb=get, resource=nodes, subresource(s)=[metrics]"
    assert text == f"Forbidden (user=system:kube-scheduler, {asked_for})\n"
    for credentials in ({}, {"token": "nobody's"}):
        status, _ = await asyncio.to_thread(asked, node, "/metrics/resource", **credentials)
        assert status == 401


async def test_sigterm_stops_the_agent_and_leaves_the_pods(node: Node) -> None:
    await node.run(node.pod("runs", image="kubraft/web"))
    pod = await node.until_ready("runs")
    assert await asyncio.to_thread(node.agent.terminate) == 0
    assert "Traceback" not in node.agent.log()
    text = await asyncio.to_thread(http_get, f"http://{pod['status']['podIP']}:8080/")
    assert "pod: runs" in text
