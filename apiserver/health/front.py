"""What the HTTPS front answers: probes and version to all, metrics to those who may."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import orjson

from apiserver.authn.credentials import Credentials
from apiserver.authz.attributes import Attributes, forbidden_error
from apiserver.health.checks import Check, run_checks
from apiserver.registry.policy import Authorizer
from apiserver.rpc.caller import Authenticator
from kubraft.api.errors import ApiError
from kubraft.http_server import Request, Response

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
_JSON = "application/json"


class HealthFront:
    """Handles the paths; `checks` are by probe, then by name."""

    def __init__(
        self,
        checks: Mapping[str, Mapping[str, Check]],
        authenticator: Authenticator,
        authorizer: Authorizer,
    ) -> None:
        self._checks = checks
        self._authenticator = authenticator
        self._authorizer = authorizer

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        try:
            return await self._answer(request)
        except ApiError as error:
            return Response(error.code, orjson.dumps(error.to_status()), _JSON)

    async def _answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"only GET and HEAD are served\n")
        probe, _, one = request.path.strip("/").partition("/")
        if probe in _PROBES:
            return await self._probe(probe, one, request)
        if request.path == "/version":
            return Response(200, orjson.dumps(VERSION, option=orjson.OPT_INDENT_2), _JSON)
        if request.path == "/metrics":
            await self._authorize(request)
            return _metrics()
        return Response(404, b"404 page not found\n")

    async def _probe(self, probe: str, one: str, request: Request) -> Response:
        checks = self._checks[probe]
        if one:
            if one not in checks:
                return Response(404, b"404 page not found\n")
            checks = {one: checks[one]}
        verbose = "verbose" in request.query
        excluded = request.query.get("exclude", [])
        outcome = await run_checks(probe, checks, verbose=verbose, excluded=excluded)
        return Response(200 if outcome.ok else 500, outcome.text.encode())

    async def _authorize(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else None
        user = await self._authenticator.authenticate(
            Credentials(client_certificate=request.client_certificate, bearer_token=bearer)
        )
        attributes = Attributes(user=user, verb="get", path=request.path)
        decision = self._authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden_error(attributes, decision.reason)


def _metrics() -> Response:
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - rare

    return Response(200, generate_latest(), CONTENT_TYPE_LATEST)
