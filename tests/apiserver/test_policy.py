"""Authorization, admission and tokens through the verbs of the registry, on the real cache."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from apiserver.admission import AdmissionContext, build_chain
from apiserver.authn.service_account import ServiceAccountAuthenticator
from apiserver.authn.token_issuer import TokenIssuer
from apiserver.authz import Authorizer
from apiserver.bootstrap import bootstrap
from apiserver.registry.call import Call, DeleteOptions, WriteOptions
from apiserver.registry.policy import Policy
from apiserver.registry.registry import Registry
from apiserver.storage.memory_store import MemoryStore
from apiserver.user import User
from kubraft.api.errors import ApiError, BadRequestError, ForbiddenError
from kubraft.api.gvk import (
    NAMESPACE,
    POD,
    RESOURCE_QUOTA,
    SERVICE_ACCOUNT,
    GroupVersionKind,
    gvk_of,
)
from kubraft.api.object import Object
from kubraft.signing_keys import signing_key
from tests.apiserver.harness import Bench, running_registry
from tests.apiserver.objects import MASTER, NODE_0, user

ISSUER = "https://kubernetes.default.svc"
KEY = signing_key(ec.generate_private_key(ec.SECP256R1()))


class Api:
    """A registry with the whole real policy; verbs take who asks."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.authorizer = Authorizer(bench.reader)
        context = AdmissionContext(bench.reader, bench.writer, bench.clock)

        def now() -> float:
            return bench.clock.now().timestamp()

        issuer = TokenIssuer(
            key=KEY, issuer=ISSUER, audiences=[ISSUER], writer=bench.writer, now=now,
            new_id=lambda: "id",
        )  # fmt: skip
        chain = build_chain(context, self.authorizer)
        self.registry = Registry(bench.registry.machinery, Policy(self.authorizer, chain, issuer))
        self.tokens = ServiceAccountAuthenticator(
            keys=[KEY.public], issuers=[ISSUER], audiences=[ISSUER], reader=bench.reader,
            writer=bench.writer, now=now,
        )  # fmt: skip

    def call(self, who: User, gvk: GroupVersionKind, name: str, namespace: str = "default") -> Call:
        return replace(self.bench.call(gvk, name, namespace), user=who)

    async def create(self, obj: Object, who: User = MASTER) -> Object:
        metadata = obj["metadata"]
        call = self.call(who, gvk_of(obj), metadata["name"], metadata.get("namespace", ""))
        written = await self.registry.create(call, obj, WriteOptions())
        await self.settled()
        return written.entry.decode()

    async def delete(
        self, gvk: GroupVersionKind, name: str, who: User = MASTER, **options: Any
    ) -> None:
        await self.registry.delete(self.call(who, gvk, name), DeleteOptions(**options))
        await self.settled()

    async def settled(self) -> None:
        """The cache knows all that has been written."""
        await self.bench.cache.reach(await self.bench.store.revision(), timeout_s=2.0)

    async def bind(self, pod: str, node: str) -> None:
        binding = {
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": pod, "namespace": "default"}, "target": {"name": node},
        }  # fmt: skip
        await self.registry.bind(self.call(MASTER, POD, pod), binding, WriteOptions())
        await self.settled()

    async def token(self, who: User, account: str = "default", **spec: Any) -> str:
        request = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
            "spec": spec,
        }  # fmt: skip
        answer = await self.registry.create_token(self.call(who, SERVICE_ACCOUNT, account), request)
        token: str = answer["status"]["token"]
        return token


def pod(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "kubraft/web:v1"}], **spec},
    }


def account(name: str) -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_registry() as bench:
        await bootstrap(bench.reader, bench.writer)
        found = Api(bench)
        await found.create(account("default"))
        yield found


def bound_to(pod: Object) -> dict[str, Any]:
    metadata = pod["metadata"]
    return {
        "boundObjectRef": {
            "apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]
        }
    }  # fmt: skip


async def test_a_token_lives_as_long_as_its_pod(api: Api) -> None:
    made = await api.create(pod("web"))
    token = await api.token(MASTER, **bound_to(made))
    who = await api.tokens.authenticate(token)
    assert who.name == "system:serviceaccount:default:default"
    await api.delete(POD, "web", grace_period_s=0)
    with pytest.raises(ApiError):
        await api.tokens.authenticate(token)


async def test_a_node_gets_tokens_for_its_own_pods_only(api: Api) -> None:
    mine, theirs = await api.create(pod("mine")), await api.create(pod("theirs"))
    await api.bind("mine", "node-0")
    await api.bind("theirs", "node-1")
    assert await api.token(NODE_0, **bound_to(mine))
    for spec, why in (
        (bound_to(theirs), "bound to a pod scheduled on a different node"),
        ({}, "token not bound to a pod"),
    ):
        with pytest.raises(ForbiddenError, match=why):
            await api.token(NODE_0, **spec)
    await api.create(account("admin"))
    with pytest.raises(ForbiddenError, match="no relationship found between node 'node-0'"):
        await api.token(NODE_0, "admin")


async def test_a_node_deletes_its_own_pods_only(api: Api) -> None:
    for name, node in (("mine", "node-0"), ("theirs", "node-1")):
        await api.create(pod(name))
        await api.bind(name, node)
    with pytest.raises(ForbiddenError, match="can only delete pods with spec.nodeName set"):
        await api.delete(POD, "theirs", NODE_0)
    await api.delete(POD, "mine", NODE_0, grace_period_s=0)


async def test_namespaces_that_must_stay_stay(api: Api) -> None:
    with pytest.raises(ForbiddenError, match="this namespace may not be deleted"):
        await api.delete(NAMESPACE, "default")


async def test_a_malformed_token_request_is_refused(api: Api) -> None:
    request = {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
        "spec": "text",
    }  # fmt: skip
    with pytest.raises(BadRequestError):
        await api.registry.create_token(api.call(MASTER, SERVICE_ACCOUNT, "default"), request)


async def test_who_is_nobody_sees_and_does_nothing(api: Api) -> None:
    nobody = user("nobody")
    with pytest.raises(ForbiddenError) as refusal:
        await api.create(pod("web"), nobody)
    assert refusal.value.message == (
        'pods is forbidden: User "nobody" cannot create resource "pods" in API group "" '
        'in the namespace "default"'
    )


async def test_a_quota_holds_through_the_whole_pipeline(api: Api) -> None:
    await api.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "q", "namespace": "default"},
            "spec": {"hard": {"pods": "2"}},
        }
    )
    refused = []
    for name in "abcd":
        try:
            await api.create(pod(name))
        except ForbiddenError as error:
            refused.append(error.message)
    assert refused == [
        f'pods "{name}" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, '
        "limited: pods=2"
        for name in "cd"
    ]
    status = (await api.bench.get(RESOURCE_QUOTA, "q", "default"))["status"]
    assert status == {"hard": {"pods": "2"}, "used": {"pods": "2"}}


async def test_two_api_servers_on_one_store_admit_no_more_than_the_quota() -> None:
    store = MemoryStore()
    async with running_registry(store) as first, running_registry(store) as second:
        await bootstrap(first.reader, first.writer)
        servers = [Api(first), Api(second)]
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "q", "namespace": "default"},
            "spec": {"hard": {"pods": "15", "count/pods": "20"}},
        }
        await servers[0].create(account("default"))
        await servers[0].create(quota)
        await servers[1].settled()

        async def admitted(number: int) -> bool:
            try:
                await servers[number % 2].create(pod(f"p{number}"))
            except ForbiddenError:
                return False
            return True

        assert sum(await asyncio.gather(*map(admitted, range(60)))) == 15
        status = (await first.get(RESOURCE_QUOTA, "q", "default"))["status"]
        assert status["used"] == {"pods": "15", "count/pods": "15"}
