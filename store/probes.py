"""What a member answers to probes: /health, /livez, /readyz, /version and /metrics.

The same on the client port and on `--listen-metrics-urls`. Source: etcd 3.5,
server/etcdserver/api/etcdhttp (health.go, version.go, metrics.go).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import orjson

from kubraft.grpc_server.exchange import HttpRequest, HttpResponse
from kubraft.pb.etcdserverpb.rpc_pb2 import CORRUPT, AlarmType
from store import metrics
from store.gateway.answers import PLAIN, plain
from store.health_tally import HealthTally
from store.housekeeping import Housekeeping
from store.raft.engine import EngineError, Role
from store.rpc.maintenance import ETCD_VERSION
from store.rpc.service import MemberServices

_JSON = (("content-type", "application/json"),)
_METRICS = ("content-type", metrics.CONTENT_TYPE)
_TEXT = (("content-type", "text/plain; charset=utf-8"),)
_READ_TIMEOUT_S = 5.0
_QUERY_FIELDS_MAX = 100

# Says what is wrong, nothing if all is well.
Check = Callable[[], Awaitable[str]]
Query = dict[str, list[str]]


class Probes:
    def __init__(self, services: MemberServices, housekeeping: Callable[[], Housekeeping]) -> None:
        """`housekeeping` is asked for when the first figures are."""
        self._services = services
        self._housekeeping = housekeeping
        self._tally = HealthTally()
        self._checks: dict[str, dict[str, Check]] = {
            "livez": {"serializable_read": self._local_read},
            "readyz": {
                "data_corruption": self._corruption,
                "serializable_read": self._local_read,
                "linearizable_read": self._quorum_read,
                "non_learner": self._learner,
            },
        }

    async def answer(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/metrics":
            return self._metrics()
        probe, _, one = request.path.strip("/").partition("/")
        checks = self._checks.get(probe)
        known = request.path in {"/health", "/version"} or (
            checks is not None and (not one or one in checks)
        )
        if not known:
            return plain(404, "404 page not found")
        if request.method != "GET":
            return plain(405, "Method Not Allowed", ("allow", "GET"))
        if request.path == "/version":
            version = {"etcdserver": ETCD_VERSION, "etcdcluster": ETCD_VERSION}
            return HttpResponse(200, orjson.dumps(version), _JSON)
        try:
            query = parse_qs(
                request.query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX
            )
        except ValueError:
            return plain(400, "malformed query")
        if checks is None:
            return await self._health(query)
        if one:
            return await self._run({one: checks[one]}, query)
        excluded = query.get("exclude", [])
        left = {name: check for name, check in checks.items() if name not in excluded}
        return await self._run(left, query)

    def _metrics(self) -> HttpResponse:
        found = metrics.families(self._services, self._housekeeping(), self._tally)
        return HttpResponse(200, metrics.render(found), (_METRICS,))

    async def _health(self, query: Query) -> HttpResponse:
        serializable = query.get("serializable", [""])[0] == "true"
        reason = self._alarm(query.get("exclude", []))
        if not reason and not serializable:
            if self._services.engine.status().leader is None:
                reason = "RAFT NO LEADER"
            elif wrong := await self._quorum_read():
                reason = f"RANGE ERROR:{wrong}"
        if reason:
            self._tally.failures += 1
        else:
            self._tally.successes += 1
        answer = orjson.dumps({"health": "false" if reason else "true", "reason": reason})
        return plain(503, answer.decode()) if reason else HttpResponse(200, answer, _TEXT)

    def _alarm(self, excluded: list[str]) -> str:
        for alarm in self._services.machine.alarms.get():
            name = AlarmType.Name(alarm.alarm)
            if name not in excluded:
                return f"ALARM {name}"
        return ""

    async def _run(self, checks: dict[str, Check], query: Query) -> HttpResponse:
        lines: list[str] = []
        failed = False
        for name, check in checks.items():
            wrong = await check()
            failed = failed or bool(wrong)
            lines.append(f"[-]{name} failed: {wrong}\n" if wrong else f"[+]{name} ok\n")
        if failed:
            return plain(503, "".join(lines))
        told = "".join(lines) if "verbose" in query else ""
        return HttpResponse(200, f"{told}ok\n".encode(), PLAIN)

    async def _local_read(self) -> str:
        self._services.store.find(b"\0")
        return ""

    async def _quorum_read(self) -> str:
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                await self._services.engine.read_index()  # a learner's too
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
