"""exec, attach and port-forward: asked of the runtime, and relayed to where it says.

The runtime's streaming server speaks WebSocket or SPDY with the client; here nobody looks into it.

Source: CRI v1, Exec, Attach, PortForward; the kubelet's /exec, /attach and /portForward.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from agents.node.cri_client import CriClient
from agents.node.https_front import Asked, RefusedError, Route
from agents.node.pod_view import ContainerView, PodView
from kubraft.api.object import Object, ObjectKey, uid_of
from kubraft.grpc_server.exchange import HttpResponse
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.streaming.relay import Destination, relay, wants_upgrade

_METHODS: Final = frozenset(("GET", "POST"))
_RUN_TIMEOUT_S: Final = 120.0
_PORTS_MAX: Final = 64


class PodStreams:
    """The routes /exec, /attach, /portForward and /run."""

    def __init__(
        self,
        find_pod: Callable[[ObjectKey], Object | None],
        view: Callable[[str], Awaitable[PodView]],
        runtime: CriClient,
    ) -> None:
        """`view`: the runtime's picture of a Pod, by uid."""
        self._find_pod = find_pod
        self._view = view
        self._runtime = runtime

    def routes(self) -> dict[str, Route]:
        """Each by the first word of its paths."""
        return {
            "exec": Route(self._exec, _METHODS),
            "attach": Route(self._attach, _METHODS),
            "portForward": Route(self._port_forward, _METHODS),
            "run": Route(self._run, frozenset(("POST",))),
        }

    async def _exec(self, asked: Asked) -> None:
        wanted = _wanted(asked)
        request = cri.ExecRequest(
            cmd=asked.query.get("command", ()),
            tty=wanted.tty,
            stdin=wanted.stdin,
            stdout=wanted.stdout,
            stderr=wanted.stderr,
        )
        container = await self._container(asked)
        if not request.cmd:
            raise RefusedError(400, "you must specify a command")
        _check_upgrade(asked)
        request.container_id = container.id
        await _relay(asked, await self._runtime.exec_url(request))

    async def _attach(self, asked: Asked) -> None:
        wanted = _wanted(asked)
        request = cri.AttachRequest(
            tty=wanted.tty, stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr
        )
        container = await self._container(asked)
        _check_upgrade(asked)
        request.container_id = container.id
        await _relay(asked, await self._runtime.attach_url(request))

    async def _port_forward(self, asked: Asked) -> None:
        ports = _ports(asked)
        pod = self._pod(asked, words_min=2)
        _check_upgrade(asked)
        sandbox = (await self._view(uid_of(pod))).sandbox
        if sandbox is None:
            name = f"{pod['metadata']['name']}_{pod['metadata']['namespace']}"
            raise RefusedError(500, f'pod not found ("{name}")')
        request = cri.PortForwardRequest(pod_sandbox_id=sandbox.id, port=ports)
        await _relay(asked, await self._runtime.port_forward_url(request))

    async def _run(self, asked: Asked) -> None:
        """Run a command and answer with what it wrote, without any stream."""
        container = await self._container(asked)
        try:
            _code, text = await self._runtime.exec_sync(
                container.id, asked.first("cmd").split(" "), _RUN_TIMEOUT_S
            )
        except OSError as error:  # TimeoutError is one
            raise RefusedError(500, str(error) or "the command took too long") from error
        await asked.exchange.respond(HttpResponse(200, text.encode()))

    # Who is meant

    def _pod(self, asked: Asked, *, words_min: int) -> Object:
        """The Pod that the path names, by NAMESPACE/POD, and by its uid where that is there."""
        if len(asked.words) not in (words_min, words_min + 1):
            raise RefusedError(404, "404 page not found")
        pod = self._find_pod(ObjectKey(asked.words[0], asked.words[1]))
        if pod is None:
            raise RefusedError(404, "pod does not exist")
        if len(asked.words) > words_min and uid_of(pod) != asked.words[2]:
            raise RefusedError(404, "pod not found")
        return pod

    async def _container(self, asked: Asked) -> ContainerView:
        """The running container that NAMESPACE/POD[/UID]/CONTAINER names."""
        pod = self._pod(asked, words_min=3)
        name = asked.words[-1]
        view = await self._view(uid_of(pod))
        for container in view.containers:
            if container.name == name and container.running:
                return container
        raise RefusedError(500, f'container not found ("{name}")')  # 500 as upstream


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which streams a request is for."""

    tty: bool
    stdin: bool
    stdout: bool
    stderr: bool


def _wanted(asked: Asked) -> _Wanted:
    def is_set(name: str) -> bool:
        return asked.first(name) in ("1", "true")

    tty = is_set("tty")
    # A terminal has one stream for both outputs.
    wanted = _Wanted(tty, is_set("input"), is_set("output"), is_set("error") and not tty)
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise RefusedError(400, "you must specify at least 1 of stdin, stdout, stderr")
    return wanted


def _ports(asked: Asked) -> list[int]:
    """The ports of the query; clients that multiplex name theirs later."""
    found = []
    for text in asked.query.get("port") or asked.query.get("ports") or ():
        for word in text.split(","):
            if not (word.isascii() and word.isdigit() and 1 <= int(word[:6]) <= 65_535):
                raise RefusedError(400, f'unable to parse "{text}" as a port')
            found.append(int(word))
    if len(found) > _PORTS_MAX:
        raise RefusedError(400, f"at most {_PORTS_MAX} ports can be forwarded at once")
    return found


def _check_upgrade(asked: Asked) -> None:
    if not wants_upgrade(asked.exchange):
        raise RefusedError(400, "Upgrade request required")


async def _relay(asked: Asked, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise RefusedError(500, f"the runtime's streaming URL cannot be used: {url[:200]}")
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    await relay(asked.exchange, Destination(parts.hostname, parts.port or 80, target))
