"""exec, attach and portforward: who may, where the request goes, and bytes through it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.admission.hooks_server import patch
from tests.apiserver.admission.hooks_server import serving as serving_hooks
from tests.apiserver.connect.cluster import PODS, SPDY, WEBSOCKET, Cluster, running, until
from tests.apiserver.in_process import ADMIN_TOKEN
from tests.apiserver.objects import binding, role, rule

EXEC = f"{PODS}/web/exec?command=ls&command=-l+x&stdin=true&stdout=true&stderr=false&tty=1"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"


@pytest.fixture
async def cluster(tmp_path: Path, pki: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, pki) as made:
        await made.pod()
        yield made


async def test_a_websocket_is_handed_on_to_the_node(cluster: Cluster) -> None:
    secret = ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.QQ, v4.channel")
    extra = (("impersonate-user", "admin"), ("x-remote-user", "root"), ("x-mine", "1"), secret)
    allowed = (*WEBSOCKET[:-1], *extra, ("impersonate-group", "system:masters"))
    async with cluster.opened(EXEC, allowed, early=b"early ") as line:
        assert line.status == 101, line.head
        assert "X-Agent: here" in line.head
        line.writer.write(b"and bye")
        assert await line.rest() == b"hello EARLY AND BYE"
    request, *fields = cluster.agent.asked[0].rstrip().split("\r\n")
    assert request == (
        "GET /exec/default/web/c?command=ls&command=-l+x&input=1&output=1&tty=1 HTTP/1.1"
    )
    found = dict(field.lower().split(": ", 1) for field in fields)
    assert found["host"] == f"127.0.0.1:{cluster.agent.port}"
    assert found["sec-websocket-protocol"] == "v4.channel"
    assert (found["upgrade"], found["x-mine"]) == ("websocket", "1")
    assert found["x-forwarded-for"] == "127.0.0.1"
    assert not {"authorization", "impersonate-user", "x-remote-user"} & found.keys()
    assert cluster.agent.peers == ["kube-apiserver-kubelet-client"]


TARGETS = {
    "exec?command=sh&container=c&stdout=true": "/exec/default/web/c?command=sh&output=1",
    "attach?stdin=1&stdout=1": "/attach/default/web/c?input=1&output=1",
    "portforward": "/portForward/default/web",
    "portforward?ports=80&ports=8080": "/portForward/default/web?port=80%2C8080",
}


async def test_spdy_is_handed_on_too(cluster: Cluster) -> None:
    async def tried(path: str) -> None:
        async with cluster.opened(f"{PODS}/web/{path}", SPDY) as line:
            assert line.status == 101, line.head
            line.writer.write(b"bye")
            assert await line.rest() == b"hello BYE"

    await asyncio.gather(*map(tried, TARGETS))
    asked = {each.partition("\r\n")[0]: each.lower() for each in cluster.agent.asked}
    assert asked.keys() == {f"POST {target} HTTP/1.1" for target in TARGETS.values()}
    for head in asked.values():
        assert head.count("x-stream-protocol-version: v") == 2


async def test_much_goes_through_and_whoever_is_slow_holds_the_other_up(cluster: Cluster) -> None:
    part, most = b"a" * (1 << 20), 128
    async with cluster.opened(EXEC) as line:
        sent = 0
        while sent < most:  # nobody reads
            line.writer.write(part)
            sent += 1
            try:
                async with asyncio.timeout(1):
                    await line.writer.drain()
            except TimeoutError:
                break
        assert sent < most, "what is under way is not bounded"
        line.writer.write(b"bye")
        assert await line.rest() == b"hello " + part.upper() * sent + b"BYE"


async def test_a_client_that_goes_ends_the_nodes_side(cluster: Cluster) -> None:
    async with cluster.opened(EXEC) as line:
        assert line.status == 101
        gauge = 'resource="pods",scope="resource",subresource="exec",verb="CONNECT",version="v1"} 1'
        assert gauge in (await cluster.served.ask("GET", "/metrics")).body.decode()
    async with asyncio.timeout(60):
        await cluster.agent.ended.wait()

    async def none_left() -> bool:
        text = (await cluster.served.ask("GET", "/metrics")).body.decode()
        return gauge.replace("} 1", "} 0") in text

    await until(none_left)


async def test_a_server_that_stops_ends_its_relays(tmp_path: Path, pki: Path) -> None:
    async with running(tmp_path, pki) as cluster:
        await cluster.pod()
        async with cluster.opened(EXEC) as line:
            assert line.status == 101
            cluster.served.server.stop()
            assert await line.rest() == b"hello "


async def test_the_audit_log_has_the_begin_and_the_end(tmp_path: Path, pki: Path) -> None:
    policy, log = tmp_path / "policy.yaml", tmp_path / "audit.log"
    rules = [{"level": "Metadata", "resources": [{"group": "", "resources": ["pods/exec"]}]}]
    policy.write_text(
        json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules})
    )
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={log}")
    async with running(tmp_path, pki, *flags) as cluster:
        await cluster.pod()
        async with cluster.opened(EXEC) as line:
            assert "Audit-Id: " in line.head
            line.writer.write(b"bye")
            await line.rest()
    events = [json.loads(each) for each in log.read_text().splitlines()]
    stages = [event["stage"] for event in events]
    assert stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert events[-1]["responseStatus"]["code"] == 101
    assert events[-1]["requestURI"] == EXEC
    assert events[-1]["objectRef"]["subresource"] == "exec"


TWO = [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]


CHOICE = "a container name must be specified for pod two, choose one of: [i a b]"
REFUSED = (
    ("gone/exec?command=a", 404, 'pods "gone" not found'),
    ("pending/exec?command=a", 400, "pod pending does not have a host assigned"),
    ("lost/attach", 404, 'nodes "lost" not found'),
    ("two/exec?command=a", 400, CHOICE),
    ("two/exec?container=x", 400, "container x is not valid for pod two"),
    ("web/portforward?ports=http", 400, 'strconv.ParseInt: parsing "http": invalid syntax'),
    ("web/exec?command=a&dryRun=All", 400, "dryRun is not supported"),
)


async def test_what_cannot_be_is_said_in_upstreams_words(cluster: Cluster) -> None:
    await cluster.pod("two", spec={"containers": TWO, "initContainers": [{**TWO[0], "name": "i"}]})
    await cluster.pod("lost", spec={"nodeName": "lost"})
    pending = {"metadata": {"name": "pending"}, "spec": {"containers": TWO[:1]}}
    await cluster.served.create(PODS, pending)
    for path, code, message in REFUSED:
        answer = await cluster.served.ask("GET", f"{PODS}/{path}", headers=_raw(WEBSOCKET))
        assert (answer.status, answer.json()["message"]) == (code, message)


def _raw(headers: Any) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in headers]


async def test_other_ways_to_fail(cluster: Cluster) -> None:
    ask, agent = cluster.served.ask, cluster.agent
    plain = await ask("POST", EXEC)
    assert (plain.status, plain.json()["message"]) == (400, "Upgrade request required")
    wrong = await ask("DELETE", EXEC)
    assert wrong.status == 405
    agent.refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nX-Why: no\r\n\r\nno\n"
    refused = await ask("GET", EXEC, headers=_raw(WEBSOCKET))
    assert (refused.status, refused.body) == (404, b"no\n")
    assert refused.headers["x-why"] == "no"
    agent.refusal = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    odd = await ask("GET", EXEC, headers=_raw(WEBSOCKET))
    assert odd.json()["message"] == "invalid upgrade response: status code 200"
    agent.refusal = b"nonsense\r\n\r\n"
    broken = await ask("GET", EXEC, headers=_raw(WEBSOCKET))
    assert broken.status == 500


async def test_a_node_that_is_away_or_an_impostor(tmp_path: Path, pki: Path) -> None:
    # A certificate of the same authority, for another machine than the one that was asked.
    async with running(tmp_path, pki, certificate="node-0") as cluster:
        await cluster.pod()
        ask, node = cluster.served.ask, "/api/v1/nodes/node-0/status"
        impostor = (await ask("GET", EXEC, headers=_raw(WEBSOCKET))).json()
        assert impostor["code"] == 500
        assert impostor["message"].startswith(
            "error dialing backend: tls: failed to verify certificate: x509: "
        )
        found = (await ask("GET", "/api/v1/nodes/node-0")).json()
        found["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] = 1
        assert (await ask("PUT", node, found)).status == 200
        away = (await ask("GET", EXEC, headers=_raw(WEBSOCKET))).json()
        assert (away["code"], away["message"]) == (
            500,
            "error dialing backend: dial tcp 127.0.0.1:1: connect: connection refused",
        )


async def test_who_may_only_read_may_not_run_programs(cluster: Cluster) -> None:
    reads, runs = rule("get", "pods/exec"), rule("create", "pods/exec")
    for name, rules in (("ann", [reads]), ("bob", [reads, runs])):
        made = role(name, *rules, namespace="default")
        await cluster.served.create(f"{RBAC}/roles", made)
        bound = binding(name, f"User/{name}", namespace="default", kind="Role")
        await cluster.served.create(f"{RBAC}/rolebindings", bound)

    async def asked_by(name: str) -> tuple[int, str]:
        async with cluster.opened(EXEC, token=f"{name}-token") as line:
            return line.status, line.head

    async def is_allowed() -> bool:
        return (await asked_by("bob"))[0] == 101

    await until(is_allowed)
    assert (await asked_by("ann"))[0] == 403


async def test_a_browser_shows_its_token_as_a_protocol(cluster: Cluster) -> None:
    ask, who = cluster.served.ask, "base64url.bearer.authorization.k8s.io."
    for token, status in ((ADMIN_TOKEN, 101), ("nobody", 401), ("ann-token", 403)):
        hidden = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
        protocol = ("sec-websocket-protocol", f"{who}{hidden}, v5.channel.k8s.io")
        async with cluster.opened(EXEC, (*WEBSOCKET[:-1], protocol), token="") as line:
            assert line.status == status
    plain = await ask("GET", PODS, token=None, headers=_raw([protocol]))
    assert plain.status == 403  # without an upgrade it is just a header
    assert ADMIN_TOKEN not in cluster.agent.asked[0]
    assert "sec-websocket-protocol: v5.channel.k8s.io\r\n" in cluster.agent.asked[0]


async def test_a_webhook_is_asked_and_may_change_what_is_run(cluster: Cluster, pki: Path) -> None:
    change = {"op": "replace", "path": "/command", "value": ["true"]}
    async with serving_hooks(pki) as hooks:
        hooks.answers["/exec"] = lambda _: patch(change)
        rule_ = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"],
                 "resources": ["pods/exec"]}  # fmt: skip
        obj = {"metadata": {"name": "h"}, "webhooks": [hooks.hook("/exec", rules=[rule_])]}
        place = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
        await cluster.served.create(place, obj)

        async def is_changed() -> bool:
            async with cluster.opened(EXEC) as line:
                assert line.status == 101, await line.reader.read(4096)
            return "command=true" in cluster.agent.asked[-1]

        await until(is_changed)
        path, asked = hooks.asked[-1]
    assert (path, asked["operation"], asked["subResource"]) == ("/exec", "CONNECT", "exec")
    assert asked["kind"]["kind"] == asked["object"]["kind"] == "PodExecOptions"
    assert asked["resource"]["resource"] == "pods"
    assert (asked["namespace"], asked["name"]) == ("default", "web")
    assert asked["object"]["command"] == ["ls", "-l x"]


async def test_admission_sees_what_is_to_be_run(cluster: Cluster) -> None:
    place = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"],
              "resources": ["pods/exec"]}]  # fmt: skip
    spec = {
        "matchConstraints": {"resourceRules": rules},
        "validations": [
            {
                "expression": "!('rm' in object.command)",
                "messageExpression": "'not ' + request.kind.kind",
            }
        ],
    }
    await cluster.served.create(place, {"metadata": {"name": "p"}, "spec": spec})
    bound = {"policyName": "p", "validationActions": ["Deny"]}
    await cluster.served.create(
        f"{place[:-3]}ybindings", {"metadata": {"name": "p"}, "spec": bound}
    )

    async def is_refused() -> bool:
        async with cluster.opened(f"{PODS}/web/exec?command=rm") as line:
            if line.status != 422:
                return False
            assert "not PodExecOptions" in (await line.reader.read(4096)).decode()
            return True

    await until(is_refused)
    async with cluster.opened(EXEC) as line:
        assert line.status == 101
