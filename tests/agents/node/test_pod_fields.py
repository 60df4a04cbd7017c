"""Fields of a Pod's spec, each as its containers see it: one node for all of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from agents.runtime.cgroups import find_cgroups
from kubraft.api.conditions import find_condition
from kubraft.api.gvk import POD
from kubraft.api.object import Object
from tests.agents.node.node_process import Node, running_node, state
from tests.harness.api import ApiUnderTest

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fields_node(
    api: ApiUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Node]:
    folder: Path = tmp_path_factory.mktemp("fields")
    flags = ("--cluster-dns=10.96.0.10", "--cluster-domain=cluster.test")
    async with running_node(api, folder, flags=flags) as node:
        yield node
        for pod in (await node.client.list(POD, "default")).items:
            await node.client.delete(POD, pod["metadata"]["name"], "default", grace_period_s=0)


async def output(node: Node, pod: Object) -> str:
    """What a Pod that runs once wrote."""
    name = pod["metadata"]["name"]
    pod["spec"]["restartPolicy"] = "Never"
    await node.run(pod)
    await node.until(name, lambda p: p["status"].get("phase") in {"Succeeded", "Failed"})
    return await node.logs(name)


def order_file(node: Node, created: Object) -> Path:
    """The file /shared/order of a Pod with an emptyDir named shared."""
    volumes: Path = node.root / "pods" / str(created["metadata"]["uid"]) / "volumes"
    return volumes / "emptyDir" / "shared" / "order"


async def test_a_pod_knows_its_names_and_whom_to_ask(fields_node: Node) -> None:
    node = fields_node
    command = "hostname; cat /etc/hostname; echo --; cat /etc/hosts; echo --; cat /etc/resolv.conf"
    names = {"hostname": "db-0", "subdomain": "db"}
    aliases = [{"ip": "192.0.2.7", "hostnames": ["foo.test"]}]
    pod = node.pod("names", "sh", "-c", command, hostAliases=aliases, **names)
    own, hosts, resolver = (await output(node, pod)).split("--\n")
    assert own == "db-0\ndb-0\n"
    address = (await node.get("names"))["status"]["podIP"]
    assert f"{address}\tdb-0.db.default.svc.cluster.test\tdb-0\n" in hosts
    assert "192.0.2.7\tfoo.test\n" in hosts
    lines = resolver.splitlines()
    assert lines[0].startswith("search default.svc.cluster.test svc.cluster.test cluster.test")
    assert lines[1:] == ["nameserver 10.96.0.10", "options ndots:5"]


async def test_a_pod_may_have_a_resolver_of_its_own(fields_node: Node) -> None:
    config = {"nameservers": ["192.0.2.9"], "searches": ["a.test"]}
    pod = fields_node.pod("resolver", "cat", "/etc/resolv.conf", dnsPolicy="None", dnsConfig=config)
    assert await output(fields_node, pod) == "search a.test\nnameserver 192.0.2.9\n"


async def test_sidecars_start_before_the_others_and_end_after_them(fields_node: Node) -> None:
    node = fields_node
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}

    def script(name: str) -> list[str]:
        end = f"echo {name} down >> /shared/order; exit 0"
        up = f"trap '{end}' TERM; echo {name} up >> /shared/order"
        return ["sh", "-c", f"{up}; while :; do sleep 0.05; done"]

    side = {"image": "busybox", "restartPolicy": "Always", **mount}
    pod = node.pod(
        "sided",
        *script("main"),
        container=mount,
        initContainers=[
            {"name": "one", "command": script("one"), **side},
            {"name": "two", "command": script("two"), **side},
        ],
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    pod["spec"]["terminationGracePeriodSeconds"] = 20
    created = await node.run(pod)
    await node.until_ready("sided")
    held = order_file(node, created).open()  # it is removed with the Pod
    await node.client.delete(POD, "sided", "default")
    await node.until_gone("sided")
    lines = held.read().splitlines()
    held.close()
    assert lines == ["one up", "two up", "main up", "main down", "two down", "one down"]


async def test_hooks_run_after_the_start_and_before_the_end(fields_node: Node) -> None:
    node = fields_node

    def note(text: str) -> Object:
        return {"exec": {"command": ["sh", "-c", f"sleep 0.2; echo {text} >> /shared/order"]}}

    container = {
        "lifecycle": {"postStart": note("started"), "preStop": note("stopping")},
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
    }
    command = "trap 'echo term >> /shared/order; exit 0' TERM; while :; do sleep 0.05; done"
    pod = node.pod(
        "hooked",
        *("sh", "-c", command),
        container=container,
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    pod["spec"]["terminationGracePeriodSeconds"] = 20
    created = await node.run(pod)
    await node.until_ready("hooked")
    held = order_file(node, created).open()
    assert held.read() == "started\n"  # ready only then
    await node.client.delete(POD, "hooked", "default")
    await node.until_gone("hooked")
    assert held.read() == "stopping\nterm\n"
    held.close()


async def test_a_post_start_hook_that_fails_ends_its_container(fields_node: Node) -> None:
    node = fields_node
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo no; exit 3"]}}}
    pod = node.pod("unhooked", "sleep", "1000", container={"lifecycle": hook})
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    await node.run(pod)
    await node.until_event("unhooked", "FailedPostStartHook", "PostStartHook failed")
    await node.until_event("unhooked", "Killing", "FailedPostStartHook")
    await node.until("unhooked", lambda p: state(p).get("restartCount", 0) >= 1)


async def test_a_container_that_never_restarts_in_a_pod_that_does(fields_node: Node) -> None:
    node = fields_node
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    own = {"restartPolicy": "Never", "restartPolicyRules": rules}
    command = "test -e /shared/x && exit 0; touch /shared/x; exit 42"
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    volumes = [{"name": "shared", "emptyDir": {}}]
    await node.run(
        node.pod("rules", "sh", "-c", command, container={**own, **mount}, volumes=volumes)
    )
    pod = await node.until("rules", lambda p: p["status"].get("phase") == "Succeeded")
    assert state(pod)["restartCount"] == 1


@pytest.mark.parametrize(
    ("name", "container", "reason", "message", "event"),
    [
        pytest.param(
            "uppercase",
            {"image": "Web:v1"},
            "InvalidImageName",
            'Failed to apply default image tag "Web:v1": couldn\'t parse image name "Web:v1": '
            "invalid reference format",
            "Error: InvalidImageName",
            id="no image's name",
        ),
        pytest.param(
            "rooted",
            {"securityContext": {"runAsNonRoot": True, "runAsUser": 0}},
            "CreateContainerConfigError",
            "container's runAsUser breaks non-root policy (pod: ",
            "Error: container's runAsUser breaks non-root policy",
            id="root that must not be",
        ),
        pytest.param(
            "unfounded",
            {"envFrom": [{"configMapRef": {"name": "nowhere"}}]},
            "CreateContainerConfigError",
            'configmap "nowhere" not found',
            'Error: configmap "nowhere" not found',
            id="variables from nowhere",
        ),
        pytest.param(
            "unable",
            {"securityContext": {"capabilities": {"add": ["FLY"]}}},
            "CreateContainerError",
            'unknown capability "CAP_FLY"',
            'Error: unknown capability "CAP_FLY"',
            id="what the runtime refuses",
        ),
    ],
)
async def test_why_a_container_is_not_made(  # noqa: PLR0917 - a table's columns
    fields_node: Node,
    name: str,
    container: Object,
    reason: str,
    message: str,
    event: str,
) -> None:
    node = fields_node
    await node.run(node.pod(name, "sleep", "100", container=container))
    pod = await node.until(name, lambda p: reason in str(state(p).get("state")))
    waiting = state(pod)["state"]["waiting"]
    assert waiting["reason"] == reason
    assert waiting["message"].startswith(message)
    await node.until_event(name, "Failed", event)
    await node.client.delete(POD, name, "default", grace_period_s=0)


async def test_capabilities_and_groups_are_what_the_pod_says(fields_node: Node) -> None:
    node = fields_node
    own = {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}
    pod = node.pod(
        "able",
        *("sh", "-c", "grep CapBnd /proc/self/status; id -G"),
        container={"securityContext": own},
        securityContext={"supplementalGroups": [77], "fsGroup": 88},
    )
    bounding, groups = (await output(node, pod)).splitlines()
    if os.geteuid() == 0:  # an ordinary user has none of either to give
        assert int(bounding.split()[1], 16) == 1
        assert {"77", "88"} <= set(groups.split())


async def resize(node: Node, name: str, cpu: str, memory: str) -> None:
    pod = await node.get(name)
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    pod["spec"]["containers"][0]["resources"] = resources
    await node.client.patch(
        POD, name, {"spec": {"containers": pod["spec"]["containers"]}}, "default", "resize"
    )


def has(cpu: str, memory: str, restarts: int) -> Callable[[Object], bool]:
    def check(pod: Object) -> bool:
        shown = state(pod)
        wanted = {"cpu": cpu, "memory": memory}
        resources = (shown.get("resources") or {}).get("requests")
        return (resources, shown.get("allocatedResources"), shown.get("restartCount")) == (
            *(wanted, wanted),
            restarts,
        )

    return check


async def test_a_running_pod_is_resized_in_place(fields_node: Node) -> None:
    node = fields_node
    policy = {"resourceName": "memory", "restartPolicy": "RestartContainer"}
    container = {
        "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
        "resizePolicy": [policy],
    }
    pod = node.pod("resized", image="kubraft/web", container=container)
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    await node.run(pod)
    await node.until_ready("resized")
    await node.until("resized", has("10m", "8Mi", 0))
    await resize(node, "resized", "20m", "8Mi")
    await node.until("resized", has("20m", "8Mi", 0))
    await resize(node, "resized", "20m", "16Mi")
    await node.until("resized", has("20m", "16Mi", 1))
    await resize(node, "resized", "9000", "16Mi")
    pending = await node.until(
        "resized", lambda p: find_condition(p["status"]["conditions"], "PodResizePending")
    )
    condition = find_condition(pending["status"]["conditions"], "PodResizePending")
    assert condition is not None
    assert condition["reason"] == "Infeasible"
    assert condition["message"].startswith(
        "Node didn't have enough capacity: cpu, requested: 9000000, capacity: "
    )
    assert has("20m", "16Mi", 1)(pending)
    await node.client.delete(POD, "resized", "default", grace_period_s=0)


async def test_memory_beyond_the_limit_is_oom_killed(fields_node: Node) -> None:
    node = fields_node
    program = "x = bytearray(200_000_000); x[::4096] = b'x' * len(x[::4096])"
    container = {"resources": {"limits": {"memory": "64Mi"}}}
    pod = node.pod("hungry", "python3", "-c", program, image="python", container=container)
    pod["spec"]["restartPolicy"] = "Never"
    await node.run(pod)
    ended = await node.until(
        "hungry", lambda p: p["status"].get("phase") in {"Succeeded", "Failed"}, timeout_s=60
    )
    told = state(ended)["state"]["terminated"]
    groups = find_cgroups(os.getpid())
    groups.close()
    expected = (137, "OOMKilled") if groups.available else (0, "Completed")
    assert (told["exitCode"], told["reason"]) == expected


async def test_processes_are_shared_where_the_pod_says_so(fields_node: Node) -> None:
    node = fields_node
    look = "until grep -qs ^tail$ /proc/[0-9]*/comm; do sleep 0.1; done; echo seen; sleep 1000"
    pod = node.pod("shares", "sh", "-c", look, shareProcessNamespace=True)
    tail = ["tail", "-f", "/dev/null"]
    pod["spec"]["containers"].append({"name": "tail", "image": "busybox", "command": tail})
    await node.run(pod)
    await node.until_logs("shares", "seen\n")
    # Another Pod keeps its processes to itself, but for a debug container.
    await node.run(node.pod("alone", *tail))
    await node.until_ready("alone")
    debug = {"name": "dbg", "image": "busybox", "command": ["sh", "-c", look]}
    added = {"spec": {"ephemeralContainers": [{**debug, "targetContainerName": "main"}]}}
    await node.client.patch(POD, "alone", added, "default", "ephemeralcontainers")
    await node.until_logs("alone", "seen\n", "dbg")


async def test_a_runtime_class_that_the_runtime_does_not_have(fields_node: Node) -> None:
    node = fields_node
    gvisor = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "gvisor"},
        "handler": "runsc",
    }
    await node.client.create(gvisor)
    await node.run(node.pod("boxed", "true", runtimeClassName="gvisor"))
    text = 'no runtime for "runsc" is configured'
    await node.until_event("boxed", "FailedCreatePodSandBox", text)
