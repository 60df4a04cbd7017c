"""Who a request is from, and as whom it acts; and when there is no room for it."""

from __future__ import annotations

import ssl
from pathlib import Path
from random import Random
from typing import Any

import pytest

from apiserver.authz.attributes import DENIED, Attributes, Decision
from apiserver.authz.rule import Rule
from apiserver.connect.front import ConnectFront
from apiserver.rest.caller import ANONYMOUS, impersonated
from apiserver.rest.front import RestFront
from apiserver.rpc.logs import PodLogs
from apiserver.user import User
from kubraft.api.errors import ApiError, BadRequestError, ForbiddenError
from kubraft.grpc_server.exchange import HttpRequest
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.health.front import HealthFront
from tests.apiserver.harness import AllowAll, Bench
from tests.apiserver.rest.conftest import Rest

BOSS = User("boss", groups=("system:authenticated",))


class Only:
    """Allows to impersonate what it is told to."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self.allowed = allowed

    def authorize(self, attributes: Attributes) -> Decision:
        a = attributes
        assert (a.user, a.verb) == (BOSS, "impersonate")
        return Decision(allowed=True) if (a.resource, a.name) in self.allowed else DENIED

    def rules_of(self, user: User, namespace: str) -> list[Rule]:
        return []


def asking(**headers: str | list[str]) -> Any:
    """What `impersonated` looks at of an exchange."""
    found = [
        (f"impersonate-{name.replace('_', '-')}", value)
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]

    class Asking:
        request = HttpRequest("GET", "/", "", "", tuple(found), secure=True)

    return Asking()


def test_without_headers_one_is_oneself() -> None:
    assert impersonated(asking(), BOSS, Only()) is BOSS


def test_one_acts_as_another_with_its_groups_alone() -> None:
    allowed = Only(("users", "ann"), ("groups", "dev"), ("userextras", "v"), ("uids", "7"))
    asked = asking(user="ann", group=["dev"], uid="7", extra_scope="v")
    found = impersonated(asked, BOSS, allowed)
    assert found == User(
        "ann", uid="7", groups=("dev", "system:authenticated"), extra={"scope": ("v",)}
    )


def test_a_service_account_comes_with_its_groups() -> None:
    name = "system:serviceaccount:shop:robot"
    found = impersonated(asking(user=name), BOSS, Only(("serviceaccounts", "robot")))
    assert found.groups == (
        "system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        pytest.param({"user": "root"}, ForbiddenError, id="another user"),
        pytest.param({"user": "ann", "group": "system:masters"}, ForbiddenError, id="a group"),
        pytest.param({"user": "ann", "uid": "8"}, ForbiddenError, id="a uid"),
        pytest.param({"user": "ann", "extra_scope": "w"}, ForbiddenError, id="an extra"),
        pytest.param({"group": "dev"}, BadRequestError, id="a group without a user"),
        pytest.param({"nonsense": "x"}, BadRequestError, id="an unknown header"),
    ],
)
def test_what_one_may_not_be_is_refused(headers: dict[str, str], error: type[ApiError]) -> None:
    with pytest.raises(error):
        impersonated(asking(**headers), BOSS, Only(("users", "ann")))


def test_the_anonymous_user_is_not_authenticated() -> None:
    assert ANONYMOUS.groups == ("system:unauthenticated",)


async def test_a_server_that_is_not_ready_says_so(bench: Bench, pki: Path) -> None:
    front = RestFront(
        bench.registry,
        AllowAll(),
        HealthFront({"livez": {}, "readyz": {}, "healthz": {}}),
        PodLogs(bench.registry, None),
        ConnectFront(bench.registry, bench.reader, Random(1), None),
        address="127.0.0.1:6443",
        is_ready=lambda: False,
    )
    server = GrpcServer(Limits(), http=front.handle)
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    port = server.listen("127.0.0.1", 0, own)
    await server.start()
    try:
        rest = Rest(bench, port, ssl.create_default_context(cafile=pki / "ca.crt"))
        assert (await rest.ask("GET", "/livez")).body == b"ok"
        refused = await rest.ask("GET", "/api/v1/pods")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    finally:
        await server.stop(0)
