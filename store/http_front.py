"""What a member answers to plain HTTP: /metrics, /health, /livez, /readyz and /version.

On `--listen-metrics-urls` only; docs/adr says why the client port speaks gRPC alone. Source: etcd,
server/etcdserver/api/etcdhttp (health.go, version.go).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson

from kubraft.http_server import Request, Response
from kubraft.pb.etcdserverpb.rpc_pb2 import CORRUPT, AlarmType
from store.housekeeping import Housekeeping
from store.metrics import HealthTally, registry
from store.raft.engine import EngineError, Role
from store.rpc.maintenance import ETCD_VERSION
from store.rpc.service import MemberServices

_JSON = "application/json"
_READ_TIMEOUT_S = 5.0

Check = Callable[[], Awaitable[str]]


class HttpFront:
    """`handle` is for `kubraft.http_server.HttpServer`."""

    def __init__(self, services: MemberServices, housekeeping: Housekeeping) -> None:
        self._services = services
        self._health_tally = HealthTally()
        self._registry = registry(services, housekeeping, self._health_tally)
        # Each says what is wrong, nothing if all is well.
        self._checks: dict[str, dict[str, Check]] = {
            "livez": {"serializable_read": self._local_read},
            "readyz": {
                "data_corruption": self._corruption,
                "serializable_read": self._local_read,
                "linearizable_read": self._quorum_read,
                "non_learner": self._learner,
            },
        }

    async def handle(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return Response(405, b"Method Not Allowed\n")
        probe, _, one = request.path.strip("/").partition("/")
        if probe in self._checks:
            return await self._probe(probe, one, request)
        match request.path:
            case "/health":
                return await self._health(request)
            case "/version":
                version = {"etcdserver": ETCD_VERSION, "etcdcluster": ETCD_VERSION}
                return Response(200, orjson.dumps(version), _JSON)
            case "/metrics":
                return self._metrics()
            case _:
                return Response(404, b"404 page not found\n")

    def _metrics(self) -> Response:
        from prometheus_client import (  # noqa: PLC0415  # heavy, and seldom asked for
            CONTENT_TYPE_LATEST,
            generate_latest,
        )

        return Response(200, generate_latest(self._registry), CONTENT_TYPE_LATEST)

    async def _health(self, request: Request) -> Response:
        serializable = request.query.get("serializable") == ["true"]
        excluded = request.query.get("exclude", [])
        reason = self._alarm(excluded)
        if not reason and not serializable:
            if self._services.engine.status().leader is None:
                reason = "RAFT NO LEADER"
            elif wrong := await self._quorum_read():
                reason = f"RANGE ERROR:{wrong}"
        if reason:
            self._health_tally.failures += 1
        else:
            self._health_tally.successes += 1
        answer = {"health": "false" if reason else "true", "reason": reason}
        return Response(503 if reason else 200, orjson.dumps(answer), _JSON)

    def _alarm(self, excluded: list[str]) -> str:
        for alarm in self._services.machine.alarms.get():
            name = AlarmType.Name(alarm.alarm)
            if name not in excluded:
                return f"ALARM {name}"
        return ""

    async def _probe(self, probe: str, one: str, request: Request) -> Response:
        checks = self._checks[probe]
        if one:
            if one not in checks:
                return Response(404, b"404 page not found\n")
            checks = {one: checks[one]}
        excluded = request.query.get("exclude", [])
        lines: list[str] = []
        failed = False
        for name, check in checks.items():
            if name in excluded:
                continue
            wrong = await check()
            failed = failed or bool(wrong)
            lines.append(f"[-]{name} failed: {wrong}" if wrong else f"[+]{name} ok")
        if failed:
            return Response(503, "\n".join([*lines, ""]).encode())
        if "verbose" not in request.query:
            lines = []
        return Response(200, "\n".join([*lines, "ok", ""]).encode())

    async def _local_read(self) -> str:
        self._services.store.find(b"\0")
        return ""

    async def _quorum_read(self) -> str:
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                await self._services.make_linearizable()
        except TimeoutError:
            return "context deadline exceeded"
        except EngineError as error:
            return f"etcdserver: {error}"
        return ""

    async def _corruption(self) -> str:
        return "alarm activated: CORRUPT" if self._services.machine.alarms.is_on(CORRUPT) else ""

    async def _learner(self) -> str:
        is_learner = self._services.engine.status().role is Role.LEARNER
        return "not supported for learner" if is_learner else ""
