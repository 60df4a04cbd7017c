"""The chapters, each a function that does something and checks what it claims."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kubraft.api.conditions import is_true
from kubraft.api.errors import ApiError, NotFoundError
from kubraft.api.gvk import NAMESPACE, NODE, POD
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_pod_ready
from kubraft.client.client import ApiClient
from scripts.demo.narrator import Narrator, until
from scripts.workload import WebClients, Writer, fetch

DEMO_NAMESPACE: Final = "kubraft-demo"
REPLICAS: Final = 3
WRITES_RESUME_S_MAX: Final = 3.0
PODS_MOVE_S_MAX: Final = 25.0
START_S_MAX: Final = 40.0

MANIFEST: Final = f"""\
apiVersion: v1
kind: Namespace
metadata: {{name: {DEMO_NAMESPACE}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {DEMO_NAMESPACE}}}
spec:
  replicas: {REPLICAS}
  selector: {{matchLabels: {{app: web}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - name: web
        image: kubraft/web:VERSION
        readinessProbe:
          httpGet: {{path: /readyz, port: 8080}}
          periodSeconds: 1
"""


@dataclass(slots=True)
class Story:
    """What the chapters share."""

    tell: Narrator
    client: ApiClient
    web: WebClients
    writer: Writer
    killed: list[str] = field(default_factory=list)

    async def status(self) -> dict[str, Any]:
        text = await self.tell.command("status", "-o", "json", quiet=True)
        found: dict[str, Any] = json.loads(text)
        return found

    async def kill(self, name: str) -> None:
        self.killed.append(name)
        await self.tell.command("kill", name)

    async def start(self, name: str) -> None:
        await self.tell.command("start", name)
        self.killed.remove(name)


async def tell_story(story: Story) -> None:
    """All chapters, with clients that write and read all the while.

    Raises:
        ClaimError: something did not hold.
    """
    await deploy(story)
    async with asyncio.TaskGroup() as clients:
        load = [clients.create_task(story.web.run()), clients.create_task(story.writer.run())]
        try:
            await until(_value(lambda: story.web.total > 0), "a first answer", timeout_s=10)
            await kill_leader(story)
            await roll_out(story)
            await roll_back(story)
            await kill_node(story)
            await sum_up(story)
        finally:
            for task in load:
                task.cancel()


async def deploy(story: Story) -> None:
    tell = story.tell
    tell.chapter(f"A Deployment of {REPLICAS} replicas")
    began_s = time.monotonic()
    await tell.command("apply", "-f", "-", stdin=MANIFEST.replace("VERSION", "v1"))
    await tell.command("-n", DEMO_NAMESPACE, "rollout", "status", "deployment/web", "--timeout=60s")
    pods = await running_pods(story)
    tell.check(len(pods) == REPLICAS, f"{REPLICAS} Pods are ready", f"{len(pods)} are")
    tell.say(f"after {time.monotonic() - began_s:.1f} s")
    await tell.command("-n", DEMO_NAMESPACE, "get", "pods", "-o", "wide")
    for pod in pods:
        answer = await fetch(pod["status"]["podIP"])
        name = pod["metadata"]["name"]
        tell.check(
            (answer["pod"], answer["version"]) == (name, "v1"),
            f"http://{pod['status']['podIP']}:8080 answers as {name}, v1, on {answer['node']}",
            str(answer),
        )


async def kill_leader(story: Story) -> None:
    tell = story.tell
    tell.chapter("Kill the leader of the store")
    members = (await story.status())["members"]
    leader = next(member["name"] for member in members if member["role"] == "leader")
    tell.say(f"{leader} leads; a client writes all the while")
    since_s = time.monotonic()
    await story.kill(leader)
    await until(
        _value(lambda: story.writer.acknowledged_since(since_s) > 20), "writes", timeout_s=15
    )
    gap_s = story.writer.longest_gap_s(since_s)
    tell.check(
        gap_s < WRITES_RESUME_S_MAX,
        f"writes went on {gap_s:.1f} s after the kill",
        f"only after {gap_s:.1f} s, more than {WRITES_RESUME_S_MAX:.0f}",
    )
    lost = await story.writer.lost()
    count = len(story.writer.acknowledged)
    tell.check(not lost, f"all {count} acknowledged writes are there", f"lost: {lost[:5]}")
    await story.start(leader)
    members = (await story.status())["members"]
    back = next(member for member in members if member["name"] == leader)
    tell.check(back["role"], f"{leader} is back as a {back['role']}", "it has no role")


async def roll_out(story: Story) -> None:
    tell = story.tell
    tell.chapter("Roll out v2 under load")
    before, failed_before = story.web.total, len(story.web.failures)
    await tell.command("apply", "-f", "-", stdin=MANIFEST.replace("VERSION", "v2"))
    await _rolled_out(story, "v2", before, failed_before)


async def roll_back(story: Story) -> None:
    tell = story.tell
    tell.chapter("Roll back to v1 under load")
    before, failed_before = story.web.total, len(story.web.failures)
    await tell.command("-n", DEMO_NAMESPACE, "rollout", "undo", "deployment/web")
    await _rolled_out(story, "v1", before, failed_before)


async def _rolled_out(story: Story, version: str, before: int, failed_before: int) -> None:
    tell = story.tell
    began_s = time.monotonic()
    await tell.command("-n", DEMO_NAMESPACE, "rollout", "status", "deployment/web", "--timeout=90s")
    rolled_s = time.monotonic() - began_s
    await until(_only_pods_of(story, version), f"only Pods of {version}", timeout_s=START_S_MAX)
    for pod in await running_pods(story):
        answer = await fetch(pod["status"]["podIP"])
        tell.check(
            answer["version"] == version,
            f"{pod['metadata']['name']} answers {version}",
            answer["version"],
        )
    failures = story.web.failures[failed_before:]
    sent = story.web.total - before + len(failures)
    tell.check(
        not failures and sent > 0,
        f"{version} was out after {rolled_s:.1f} s; of {sent} requests meanwhile, none failed",
        f"{len(failures)} of {sent} failed: {failures[:3]}",
    )


async def kill_node(story: Story) -> None:
    tell = story.tell
    tell.chapter("Kill a node")
    pods = await running_pods(story)
    [(node, there)] = Counter(pod["spec"]["nodeName"] for pod in pods).most_common(1)
    tell.say(f"{node} runs {there} of {len(pods)} Pods; it dies with its containers")
    failed_before = len(story.web.failures)
    await story.kill(node)

    async def elsewhere() -> bool:
        found = await running_pods(story)
        return len(found) >= REPLICAS and all(p["spec"]["nodeName"] != node for p in found)

    _, moved_s = await until(elsewhere, "Pods on other nodes", timeout_s=PODS_MOVE_S_MAX)
    await tell.command("get", "nodes")
    await tell.command("-n", DEMO_NAMESPACE, "get", "pods", "-o", "wide")
    tell.holds(f"{REPLICAS} Pods are ready on other nodes {moved_s:.1f} s after the kill")
    failures = len(story.web.failures) - failed_before
    tell.say(f"{failures} requests failed until the dead Pods were known to be dead")
    await story.start(node)

    async def ready() -> bool:
        return is_true(await story.client.get(NODE, node), "Ready")

    _, ready_s = await until(ready, f"{node} Ready", timeout_s=START_S_MAX)
    tell.holds(f"{node} is Ready again ({ready_s:.1f} s)")


async def sum_up(story: Story) -> None:
    tell = story.tell
    tell.chapter("What healed")
    await tell.command("status")
    status = await story.status()
    down = [
        view["name"]
        for view in [*status["members"], *status["processes"]]
        if view["state"] != "running"
    ]
    tell.check(not down, "every process runs", f"down: {down}")
    lost = await story.writer.lost()
    count = len(story.writer.acknowledged)
    tell.check(
        not lost,
        f"all {count} writes that were acknowledged are there ({story.writer.failed} were refused)",
        f"lost: {lost[:5]}",
    )
    versions = ", ".join(f"{count} by {version}" for version, count in story.web.answered.items())
    tell.say(f"{story.web.total} requests were answered: {versions}")


async def restore(story: Story) -> None:
    """Start what the story has killed, and remove its objects."""
    story.tell.chapter("Clean up")
    for name in list(story.killed):
        await story.start(name)
    try:
        await story.client.delete(NAMESPACE, DEMO_NAMESPACE)
    except NotFoundError:
        return

    async def gone() -> bool:
        try:
            await story.client.get(NAMESPACE, DEMO_NAMESPACE)
        except NotFoundError:
            return True
        except ApiError:
            return False
        return False

    _, gone_s = await until(gone, f"Namespace {DEMO_NAMESPACE} gone", timeout_s=60)
    story.tell.say(f"Namespace {DEMO_NAMESPACE} and all in it are gone ({gone_s:.1f} s)")


async def running_pods(story: Story) -> list[Object]:
    """The application's ready Pods, as the API has them now."""
    listed = await story.client.list(POD, DEMO_NAMESPACE, label_selector="app=web")
    return [pod for pod in listed.items if is_pod_ready(pod) and not is_terminating(pod)]


def _only_pods_of(story: Story, version: str) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        pods = await running_pods(story)
        images = {pod["spec"]["containers"][0]["image"] for pod in pods}
        return len(pods) == REPLICAS and images == {f"kubraft/web:{version}"}

    return condition


def _value(read: Callable[[], object]) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return bool(read())

    return condition
