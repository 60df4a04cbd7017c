"""Attacks on ServiceAccount tokens, and the tokens that must go through."""

import base64
import copy
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apiserver.authn.service_account import ServiceAccountAuthenticator
from apiserver.authn.token_issuer import TokenIssuer
from kubraft.api.errors import (
    ApiError,
    BadRequestError,
    ConflictError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
)
from kubraft.api.object import Object
from kubraft.signing_keys import (
    SigningKey,
    SigningKeyError,
    load_signing_key,
    load_verifying_keys,
    signing_key,
    verifying_key,
)
from tests.apiserver.memory import MemoryCluster, MemoryWriter

ISSUER = "https://kubernetes.default.svc"
OLD_ISSUER = "https://old.example"
NOW = 1_800_000_000.0
EC_PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = signing_key(EC_PRIVATE)
OTHER_KEY = signing_key(ec.generate_private_key(ec.SECP256R1()))


def named(kind: str, name: str, **fields: Any) -> Object:
    metadata = {"name": name, "uid": f"{kind.lower()}-{name}-uid"}
    if kind != "Node":
        metadata["namespace"] = "shop"
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


class Cluster:
    def __init__(self, key: SigningKey = KEY) -> None:
        self.now = NOW
        self.objects = MemoryCluster(
            named("ServiceAccount", "web"),
            named("Pod", "web-1", spec={"serviceAccountName": "web", "nodeName": "node-0"}),
            named("Pod", "other", spec={"serviceAccountName": "else"}),
            named("Node", "node-0"),
        )
        writer = MemoryWriter(self.objects)
        self.issuer = TokenIssuer(
            key=key,
            issuer=ISSUER,
            audiences=[ISSUER],
            writer=writer,
            now=lambda: self.now,
            new_id=lambda: "token-1",
        )
        self.authenticator = ServiceAccountAuthenticator(
            keys=[OTHER_KEY.public, key.public],
            issuers=[ISSUER, OLD_ISSUER],
            audiences=[ISSUER],
            reader=self.objects,
            writer=writer,
            now=lambda: self.now,
        )

    async def issue(self, **spec: Any) -> Object:
        account = next(o for o in self._stored() if o["kind"] == "ServiceAccount")
        return await self.issuer.issue(account, {"spec": spec})

    async def token(self, **spec: Any) -> str:
        token: str = (await self.issue(**spec))["status"]["token"]
        return token

    def change(self, kind: str, name: str, **metadata: Any) -> None:
        for obj in self._stored():
            if (obj["kind"], obj["metadata"]["name"]) == (kind, name):
                changed = copy.deepcopy(obj)
                changed["metadata"].update(metadata)
                self.objects.put(changed)

    def remove(self, kind: str, name: str) -> None:
        for obj in self._stored():
            if (obj["kind"], obj["metadata"]["name"]) == (kind, name):
                self.objects.remove(obj)

    def _stored(self) -> list[Object]:
        return [o for objects in self.objects.stored.values() for o in objects.values()]


POD_REF = {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "uid": "pod-web-1-uid"}


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    header, payload, signature = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")
    )
    return json.loads(header), json.loads(payload), signature


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def joined(header: Any, payload: Any, signature: bytes) -> str:
    return f"{encoded(header)}.{encoded(payload)}.{encoded(signature)}"


def signed(payload: dict[str, Any], key: SigningKey = KEY) -> str:
    from joserfc import jws

    return jws.serialize_compact(
        {"alg": key.public.algorithm}, json.dumps(payload), key.jwk, algorithms=["ES256", "RS256"]
    )


async def test_a_token_speaks_for_its_service_account() -> None:
    cluster = Cluster()
    user = await cluster.authenticator.authenticate(await cluster.token(boundObjectRef=POD_REF))
    assert user.name == "system:serviceaccount:shop:web"
    assert user.uid == "serviceaccount-web-uid"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop")
    assert user.extra == {
        "authentication.kubernetes.io/credential-id": ("JTI=token-1",),
        "authentication.kubernetes.io/pod-name": ("web-1",),
        "authentication.kubernetes.io/pod-uid": ("pod-web-1-uid",),
        "authentication.kubernetes.io/node-name": ("node-0",),
        "authentication.kubernetes.io/node-uid": ("node-node-0-uid",),
    }


async def test_an_answered_request_says_what_was_granted() -> None:
    answer = await Cluster().issue()
    assert answer["spec"] == {"audiences": [ISSUER], "expirationSeconds": 3600}
    assert answer["status"]["expirationTimestamp"] == "2027-01-15T09:00:00Z"
    header, claims, _ = parts(answer["status"]["token"])
    assert header == {"alg": "ES256", "kid": KEY.public.key_id}
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["sub"] == "system:serviceaccount:shop:web"


async def test_tokens_of_the_issuer_of_before_are_accepted() -> None:
    cluster = Cluster()
    token = _with(lambda c: c.update(iss=OLD_ISSUER))(await cluster.token())
    assert (await cluster.authenticator.authenticate(token)).name.endswith(":web")


async def test_rs256_is_served_too() -> None:
    key = signing_key(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    cluster = Cluster(key)
    user = await cluster.authenticator.authenticate(await cluster.token())
    assert user.name == "system:serviceaccount:shop:web"


def _hmac_with_public_key(token: str) -> str:
    header, payload, _ = parts(token)
    header["alg"] = "HS256"
    text = f"{encoded(header)}.{encoded(payload)}"
    pem = EC_PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{text}.{encoded(hmac.new(pem, text.encode(), hashlib.sha256).digest())}"


def _with(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    """A token with other claims, signed by the cluster's own key."""

    def forge(token: str) -> str:
        _, payload, _ = parts(token)
        change(payload)
        return signed(payload)

    return forge


def _without_signature(algorithm: str) -> Callable[[str], str]:
    return lambda token: joined({"alg": algorithm}, parts(token)[1], b"")


def _other_claims(token: str) -> str:
    header, payload, signature = parts(token)
    payload["sub"] = "system:serviceaccount:kube-system:root"
    return joined(header, payload, signature)


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(_without_signature("none"), id="alg none"),
        pytest.param(_without_signature("None"), id="alg None"),
        pytest.param(_without_signature(""), id="alg empty"),
        pytest.param(_without_signature("ES256"), id="an empty signature"),
        pytest.param(_hmac_with_public_key, id="HMAC keyed with the public key"),
        pytest.param(_other_claims, id="claims swapped under a signature"),
        pytest.param(lambda t: signed(parts(t)[1], signing_key(
            ec.generate_private_key(ec.SECP256R1()))), id="a key of somebody else"),
        pytest.param(lambda t: t[:-8] + "AAAAAAAA", id="a broken signature"),
        pytest.param(lambda t: t.rpartition(".")[0], id="two parts"),
        pytest.param(lambda t: t + "." + t, id="five parts"),
        pytest.param(lambda t: "é" + t, id="not ASCII"),
        pytest.param(lambda t: t + "A" * 10_000, id="too long"),
        pytest.param(lambda t: joined([1], {}, b""), id="a header that is no object"),
        pytest.param(lambda t: joined(
            {"alg": "ES256", "crit": ["exp"]}, parts(t)[1], b"x"), id="critical headers"),
        pytest.param(_with(lambda c: c.update(iss="https://evil")), id="another issuer"),
        pytest.param(_with(lambda c: c.pop("iss")), id="no issuer"),
        pytest.param(_with(lambda c: c.update(iss=[ISSUER])), id="issuer of a wrong type"),
        pytest.param(_with(lambda c: c.update(aud=["vault"])), id="another audience"),
        pytest.param(_with(lambda c: c.update(aud=[])), id="no audience"),
        pytest.param(_with(lambda c: c.update(aud={ISSUER: 1})), id="audience of a wrong type"),
        pytest.param(_with(lambda c: c.update(exp=NOW)), id="expired"),
        pytest.param(_with(lambda c: c.pop("exp")), id="never expires"),
        pytest.param(_with(lambda c: c.update(exp="9999999999")), id="expiry of a wrong type"),
        pytest.param(_with(lambda c: c.update(exp=True)), id="expiry that is true"),
        pytest.param(_with(lambda c: c.update(nbf=NOW + 61)), id="not valid yet"),
        pytest.param(_with(lambda c: c.update(sub="system:admin")), id="another subject"),
        pytest.param(_with(lambda c: c.pop("kubernetes.io")), id="no Kubernetes claim"),
        pytest.param(_with(lambda c: c["kubernetes.io"].pop("namespace")), id="no namespace"),
        pytest.param(_with(lambda c: c["kubernetes.io"]["serviceaccount"].update(uid="")),
            id="no ServiceAccount uid"),
        pytest.param(_with(lambda c: c["kubernetes.io"]["serviceaccount"].update(uid="x")),
            id="another ServiceAccount uid"),
        pytest.param(_with(lambda c: c["kubernetes.io"]["pod"].update(uid="x")),
            id="another Pod uid"),
        pytest.param(_with(lambda c: c["kubernetes.io"].update(pod=None)), id="Pod is null"),
    ],
)  # fmt: skip
async def test_a_forged_token_is_unauthorized(forge: Callable[[str], str]) -> None:
    cluster = Cluster()
    token = await cluster.token(boundObjectRef=POD_REF)
    with pytest.raises(UnauthorizedError) as refusal:
        await cluster.authenticator.authenticate(forge(token))
    assert refusal.value.message == "Unauthorized"
    assert refusal.value.__notes__
    assert token not in repr(refusal.value.__notes__)


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda c: c.remove("Pod", "web-1"), id="the Pod is gone"),
        pytest.param(lambda c: c.change("Pod", "web-1", uid="new"), id="the Pod is a new one"),
        pytest.param(lambda c: c.remove("ServiceAccount", "web"), id="the account is gone"),
        pytest.param(
            lambda c: c.change("ServiceAccount", "web", uid="new"), id="the account is a new one"
        ),
        pytest.param(
            lambda c: c.change("Pod", "web-1", deletionTimestamp="2027-01-15T07:58:59Z"),
            id="the Pod is long being deleted",
        ),
        pytest.param(lambda c: setattr(c, "now", NOW + 3600), id="its time is over"),
    ],
)
async def test_a_token_ends_with_what_it_is_bound_to(happens: Callable[[Cluster], None]) -> None:
    cluster = Cluster()
    token = await cluster.token(boundObjectRef=POD_REF)
    await cluster.authenticator.authenticate(token)  # verified and remembered
    happens(cluster)
    with pytest.raises(UnauthorizedError):
        await cluster.authenticator.authenticate(token)


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda c: c.remove("Node", "node-0"), id="the Pod's node is gone"),
        pytest.param(
            lambda c: c.change("Pod", "web-1", deletionTimestamp="2027-01-15T07:59:30Z"),
            id="the Pod is just being deleted",
        ),
        pytest.param(lambda c: setattr(c, "now", NOW + 3599), id="its last second"),
        pytest.param(lambda c: setattr(c, "now", NOW - 59), id="a clock that is behind"),
    ],
)
async def test_a_token_outlives_this(happens: Callable[[Cluster], None]) -> None:
    cluster = Cluster()
    token = await cluster.token(boundObjectRef=POD_REF)
    happens(cluster)
    await cluster.authenticator.authenticate(token)


async def test_a_token_bound_to_a_node_ends_with_it() -> None:
    cluster = Cluster()
    token = await cluster.token(
        boundObjectRef={"apiVersion": "v1", "kind": "Node", "name": "node-0"}
    )
    await cluster.authenticator.authenticate(token)
    cluster.remove("Node", "node-0")
    with pytest.raises(UnauthorizedError):
        await cluster.authenticator.authenticate(token)


async def test_a_cache_that_lags_does_not_refuse_a_young_token() -> None:
    cluster = Cluster()
    cluster.objects.hold_cache = True
    cluster.change("Pod", "web-1", uid="younger")
    ref = {**POD_REF, "uid": "younger"}
    await cluster.authenticator.authenticate(await cluster.token(boundObjectRef=ref))


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        pytest.param(
            {"expirationSeconds": 599},
            InvalidError,
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than "
            "10 minutes",
            id="too short",
        ),
        pytest.param({"expirationSeconds": 1 << 33}, InvalidError, "larger than 2", id="too long"),
        pytest.param({"expirationSeconds": "1h"}, InvalidError, "must be an integer", id="a text"),
        pytest.param(
            {"boundObjectRef": {**POD_REF, "name": "nope"}},
            NotFoundError,
            'pods "nope" not found',
            id="no such Pod",
        ),
        pytest.param(
            {"boundObjectRef": {**POD_REF, "uid": "x"}},
            ConflictError,
            'Operation cannot be fulfilled on Pod "web-1": the UID in the bound object '
            "reference (x) does not match the UID in record",
            id="another uid",
        ),
        pytest.param(
            {"boundObjectRef": {**POD_REF, "name": "other", "uid": ""}},
            BadRequestError,
            'cannot bind token for serviceaccount "web" to pod running with different',
            id="a Pod of another account",
        ),
        pytest.param(
            {"boundObjectRef": {"apiVersion": "v1", "kind": "Service", "name": "x"}},
            BadRequestError,
            "cannot bind token to object of type /v1, Kind=Service",
            id="a kind that is no binding",
        ),
        pytest.param(
            {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod"}},
            InvalidError,
            "spec.boundObjectRef.name: Required value",
            id="no name",
        ),
    ],
)
async def test_a_request_out_of_range_is_refused(
    spec: dict[str, Any], error: type[ApiError], message: str
) -> None:
    with pytest.raises(error) as refusal:
        await Cluster().issue(**spec)
    assert message in refusal.value.message


def test_key_files_are_read_or_refused_by_name(tmp_path: Any) -> None:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    pem = EC_PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = EC_PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path = tmp_path / "sa.key"
    path.write_bytes(pem + public)
    assert load_signing_key(path).public.key_id == KEY.public.key_id
    assert [k.key_id for k in load_verifying_keys([path])] == [KEY.public.key_id] * 2
    path.write_text("nothing")
    with pytest.raises(SigningKeyError, match=r"sa\.key: holds no PEM key"):
        load_signing_key(path)
    path.write_bytes(public)
    with pytest.raises(SigningKeyError, match=r"sa\.key: holds no private key"):
        load_signing_key(path)
    with pytest.raises(SigningKeyError, match="No such file"):
        load_verifying_keys([tmp_path / "none"])


def test_weak_keys_are_refused() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(SigningKeyError, match="1024 bits"):
        verifying_key(weak.public_key())
    with pytest.raises(SigningKeyError, match="secp384r1, need P-256"):
        verifying_key(ec.generate_private_key(ec.SECP384R1()).public_key())
