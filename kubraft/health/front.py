"""What the HTTPS front answers to everybody: probes and version. And the figures of the process."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence

import orjson

from kubraft.grpc_server.exchange import HttpResponse
from kubraft.health.checks import Check, run_checks

VERSION = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.0+kubraft",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "",
    "goVersion": f"python{platform.python_version()}",
    "compiler": "cpython",
    "platform": f"{platform.system().lower()}/{platform.machine()}",
}
_PROBES = ("livez", "readyz", "healthz")
_TEXT = "text/plain; charset=utf-8"


class HealthFront:
    """Answers the paths that need no credentials; `checks` are by probe, then by name.

    `figures` makes what /metrics says beside the figures of the client library.
    """

    def __init__(
        self,
        checks: Mapping[str, Mapping[str, Check]],
        figures: Callable[[], bytes] = bytes,
    ) -> None:
        self._checks = checks
        self._figures = figures

    async def find(
        self, method: str, path: str, query: Mapping[str, Sequence[str]]
    ) -> HttpResponse | None:
        """The answer to a probe or to a question for the version; None for any other path."""
        probe, _, one = path.strip("/").partition("/")
        if probe not in _PROBES and path.rstrip("/") != "/version":
            return None
        if method not in ("GET", "HEAD"):
            return _answer(405, b"only GET and HEAD are served\n", _TEXT)
        if probe in _PROBES:
            return await self._probe(probe, one, query)
        body = orjson.dumps(VERSION, option=orjson.OPT_INDENT_2)
        return _answer(200, body, "application/json")

    async def _probe(
        self, probe: str, one: str, query: Mapping[str, Sequence[str]]
    ) -> HttpResponse:
        checks = self._checks[probe]
        if one:
            if one not in checks:
                return _answer(404, b"404 page not found\n", _TEXT)
            checks = {one: checks[one]}
        excluded = query.get("exclude", [])
        outcome = await run_checks(probe, checks, verbose="verbose" in query, excluded=excluded)
        return _answer(200 if outcome.ok else 500, outcome.text.encode(), _TEXT)

    def metrics(self) -> HttpResponse:
        """The figures in Prometheus' text form; who may see them is the caller's matter."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - rare

        return _answer(200, generate_latest() + self._figures(), CONTENT_TYPE_LATEST)


def _answer(status: int, body: bytes, content_type: str) -> HttpResponse:
    headers = (
        ("content-type", content_type),
        ("cache-control", "no-cache, private"),
        ("x-content-type-options", "nosniff"),
    )
    return HttpResponse(status, body, headers)
