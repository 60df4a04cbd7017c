"""Who calls one of our servers, and whether it may: the API server is asked.

A caller is known by its client certificate, by what a front proxy says of it, or by its token
(TokenReview); whether it may is a SubjectAccessReview. Answers are kept for a few seconds.

Source: Kubernetes documentation, "Configure the aggregation layer", "Kubelet authentication".
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from kubraft.api.object import Object
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.grpc_server.exchange import Exchange

MASTERS: Final = "system:masters"
KEPT_S: Final = 10.0
ENTRIES_MAX: Final = 1_024
TOKEN_CHARS_MAX: Final = 16_384
_EXTRA: Final = "x-remote-extra-"
_BEARER: Final = "bearer "

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """Who may say on whose behalf it asks: certificates of an authority, with these names."""

    authority: x509.Certificate
    names: tuple[str, ...] = ()


class DelegatedAuth:
    """Asks the API server; used by one event loop."""

    def __init__(
        self, client: ApiClient, clock: Clock, front_proxy: FrontProxy | None = None
    ) -> None:
        self._client = client
        self._clock = clock
        self._front_proxy = front_proxy
        self._subjects: _Kept[bytes, _Subject] = _Kept(clock, float("inf"))
        self._tokens: _Kept[bytes, Caller | None] = _Kept(clock, KEPT_S)
        self._decisions: _Kept[Hashable, tuple[bool, str]] = _Kept(clock, KEPT_S)

    async def caller(self, exchange: Exchange) -> Caller | None:
        """Who asks; None where nobody is named, or nobody known.

        TLS has checked that a certificate is of an authority that is trusted.

        Raises:
            ApiError: a token could not be asked after.
        """
        pem = exchange.auth_context().get("x509_pem_cert")
        if pem:
            return self._by_certificate(bytes(pem[0]), exchange)
        text = exchange.request.header("authorization")
        if text[: len(_BEARER)].lower() != _BEARER or len(text) > TOKEN_CHARS_MAX:
            return None
        return await self._by_token(text[len(_BEARER) :].strip())

    async def decide(self, caller: Caller, attributes: Object) -> tuple[bool, str]:
        """Whether a caller may, and why not.

        Args:
            attributes: `resourceAttributes`, or `nonResourceAttributes` where they have a path.

        Raises:
            ApiError: it could not be asked.
        """
        if MASTERS in caller.groups:
            return True, ""
        key = (caller, tuple(sorted(attributes.items())))
        known = self._decisions.find(key)
        if known is None:
            kind = "nonResourceAttributes" if "path" in attributes else "resourceAttributes"
            spec: dict[str, Any] = {"user": caller.name, "groups": list(caller.groups)}
            spec["extra"] = {name: list(values) for name, values in caller.extra.items()}
            spec["uid"] = caller.uid
            spec[kind] = attributes
            status = await self._ask("authorization.k8s.io/v1", "SubjectAccessReview", spec)
            known = bool(status.get("allowed")), str(status.get("reason") or "")
            self._decisions.put(key, known)
        return known

    def _by_certificate(self, pem: bytes, exchange: Exchange) -> Caller | None:
        subject = self._subjects.find(pem)
        if subject is None:
            subject = _subject(pem, self._front_proxy)
            self._subjects.put(pem, subject)
        if not subject.is_proxy:
            return subject.caller
        return caller_of(exchange.request.headers)

    async def _by_token(self, token: str) -> Caller | None:
        key = hashlib.sha256(token.encode()).digest()
        if self._tokens.has(key):
            return self._tokens.find(key)
        status = await self._ask("authentication.k8s.io/v1", "TokenReview", {"token": token})
        found = _of_review(status.get("user") or {}) if status.get("authenticated") else None
        self._tokens.put(key, found)
        return found

    async def _ask(self, api_version: str, kind: str, spec: Object) -> Object:
        review = {"apiVersion": api_version, "kind": kind, "metadata": {}, "spec": spec}
        answer = await self._client.create(review)
        status: Object = answer.get("status") or {}
        return status


def caller_of(headers: Sequence[tuple[str, str]]) -> Caller | None:
    """Who a front proxy says that it asks for; names of headers are in lower case. Pure."""
    name, uid, groups = "", "", []
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers:
        if header == "x-remote-user":
            name = name or value
        elif header == "x-remote-uid":
            uid = uid or value
        elif header == "x-remote-group":
            groups.append(value)
        elif header.startswith(_EXTRA):
            key = unquote(header.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    return Caller(name, uid, tuple(groups), extra) if name else None


@dataclass(frozen=True, slots=True)
class _Subject:
    caller: Caller | None
    is_proxy: bool = False


def _subject(pem: bytes, front_proxy: FrontProxy | None) -> _Subject:
    certificate = x509.load_pem_x509_certificate(pem)
    names = _texts(certificate, NameOID.COMMON_NAME)
    if front_proxy is not None and _is_of(certificate, front_proxy.authority):
        known = not front_proxy.names or not set(names).isdisjoint(front_proxy.names)
        return _Subject(None, is_proxy=known)
    groups = _texts(certificate, NameOID.ORGANIZATION_NAME)
    if len(names) != 1:
        return _Subject(None)
    return _Subject(Caller(names[0], groups=(*groups, "system:authenticated")))


def _texts(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(name.value) for name in certificate.subject.get_attributes_for_oid(kind))


def _is_of(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _of_review(user: Object) -> Caller | None:
    extra = {key: tuple(values) for key, values in (user.get("extra") or {}).items()}
    name = user.get("username") or ""
    return Caller(name, user.get("uid") or "", tuple(user.get("groups") or ()), extra)


K = TypeVar("K", bound=Hashable)


class _Kept(Generic[K, V]):
    """The last `ENTRIES_MAX` values, each for a time."""

    def __init__(self, clock: Clock, kept_s: float) -> None:
        self._clock = clock
        self._kept_s = kept_s
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def has(self, key: K) -> bool:
        entry = self._entries.get(key)
        return entry is not None and entry[0] > self._clock.monotonic_s()

    def find(self, key: K) -> V | None:
        return self._entries[key][1] if self.has(key) else None

    def put(self, key: K, value: V) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (self._clock.monotonic_s() + self._kept_s, value)
        if len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)
