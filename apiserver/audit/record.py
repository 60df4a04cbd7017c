"""One request under audit: an exchange that notes what goes through it, and writes its events.

Source: audit.k8s.io/v1 Event; upstream's WithAudit filter (stages, what each level holds).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from apiserver.audit.policy import API_VERSION, NOTHING, Decision, Level, Policy
from apiserver.notes import Notes
from apiserver.rest import content
from apiserver.rest.request_info import RequestInfo
from apiserver.user import User, user_info
from kubraft.api.errors import ApiError
from kubraft.grpc_server.exchange import Exchange, Headers, HttpResponse
from kubraft.grpc_server.tunnel import Tunnel

# Larger bodies are left out, and the event says so.
BODY_BYTES_MAX: Final = 1024 * 1024
AGENT_CHARS_MAX: Final = 1024
ID_CHARS_MAX: Final = 64
_TRUNCATED: Final = "audit.k8s.io/truncated"
_NOBODY: Final = User("")


class Auditor:
    """Opens a record for each request; `put` takes the lines."""

    def __init__(
        self, policy: Policy, put: Callable[[bytes], None], now: Callable[[], datetime]
    ) -> None:
        self.policy = policy
        self.put = put
        self.now = now

    def open(self, exchange: Exchange, notes: Notes) -> Record:
        """What stands in for the exchange from here on; its `close` ends it."""
        return Record(self, exchange, notes)


class Record(Exchange):
    """Passes everything on to the exchange of the client."""

    def __init__(self, auditor: Auditor, inner: Exchange, notes: Notes) -> None:
        super().__init__(inner.request)
        self._auditor = auditor
        self._inner = inner
        self._notes = notes
        self._received = auditor.now()
        self._decision: Decision | None = None
        self._event: dict[str, Any] = {}
        self._status = 0
        self._kind = ""
        self._asked = b""
        self._answered = b""

    def identify(self, user: User, info: RequestInfo, *, impersonated: User | None = None) -> None:
        """Who asks for what: decides how much is written, and writes the first stage."""
        self._decision = self._auditor.policy.decide(impersonated or user, info)
        if self._decision.level is Level.None_:
            return
        request = self.request
        asked_id = request.header("audit-id")[:ID_CHARS_MAX]
        query = f"?{request.query}" if request.query else ""
        self._event = {
            "kind": "Event",
            "apiVersion": API_VERSION,
            "level": self._decision.level.name,
            "auditID": asked_id or str(uuid.uuid4()),
            "stage": "",
            "requestURI": f"{request.path}{query}",
            "verb": info.verb,
            "user": _user(user),
        }
        if impersonated is not None:
            self._event["impersonatedUser"] = _user(impersonated)
        self._event["sourceIPs"] = _addresses(request.header("x-forwarded-for"), self._inner.peer)
        if agent := request.header("user-agent"):
            self._event["userAgent"] = agent[:AGENT_CHARS_MAX]
        if info.is_resource:
            self._event["objectRef"] = _reference(info)
        self._event["requestReceivedTimestamp"] = _stamp(self._received)
        self.headers = (*self.headers, ("audit-id", self._event["auditID"]))
        self._write("RequestReceived")

    def close(self) -> None:
        """The request is over: writes the last stage."""
        if self._decision is None:
            path = self.request.path
            verb = "get" if self.request.method == "HEAD" else self.request.method.lower()
            self.identify(_NOBODY, RequestInfo(verb, path))
        assert self._decision is not None
        if self._decision.level is Level.None_:
            return
        self._event["responseStatus"] = self._response_status()
        if self._decision.level >= Level.Request:
            self._add_body("requestObject", self._asked, self.request.header("content-type"))
        if self._decision.level >= Level.RequestResponse and not self._is_status():
            self._add_body("responseObject", self._answered, self._kind)
        self._write("ResponseComplete")

    @property
    def _keeps(self) -> Level:
        return (self._decision or NOTHING).level

    def _response_status(self) -> dict[str, Any]:
        if not self._status:
            early = {"metadata": {}, "status": "Success", "message": "Connection closed early"}
            return {**early, "code": 200}
        code = self._status
        if self._is_status():
            try:
                status = orjson.loads(self._answered)
            except ValueError:
                status = {}
            kept = ("metadata", "status", "message", "reason", "details")
            return {**{k: status[k] for k in kept if k in status}, "code": code}
        return {"metadata": {}, "code": code}

    def _is_status(self) -> bool:
        return self._status >= 400 or b'"kind":"Status"' in self._answered[:64]

    def _add_body(self, field: str, raw: bytes, kind: str) -> None:
        if not raw:
            return
        if len(raw) > BODY_BYTES_MAX:
            self._notes.annotate(_TRUNCATED, "true")
            return
        try:
            value = content.read(raw, kind)
        except ApiError:
            return  # it was refused for that
        if isinstance(value, dict):
            omits = (self._decision or NOTHING).omit_managed_fields
            self._event[field] = _bare(value) if omits else value
            if field == "requestObject" and "objectRef" in self._event:
                self._complete(value)
        elif isinstance(value, list) and field == "requestObject":
            self._event[field] = value  # a JSON patch

    def _complete(self, obj: Mapping[str, Any]) -> None:
        """What the object says of itself where the URL does not."""
        metadata = obj.get("metadata")
        if isinstance(metadata, dict):
            for field in ("namespace", "name", "uid", "resourceVersion"):
                if isinstance(value := metadata.get(field), str):
                    self._event["objectRef"].setdefault(field, value)

    def _write(self, stage: str) -> None:
        assert self._decision is not None
        if stage in self._decision.omit_stages:
            return
        annotations = dict(self._notes.annotations)
        if self._decision.level >= Level.Request:
            annotations.update(self._notes.request_annotations)
        event = {**self._event, "stage": stage, "stageTimestamp": _stamp(self._auditor.now())}
        if annotations:
            event["annotations"] = annotations
        self._auditor.put(orjson.dumps(event))

    # Of a call that is no exchange of HTTP.

    def note_asked(self, raw: bytes) -> None:
        """What was sent, in JSON."""
        if self._keeps >= Level.Request:
            self._asked = raw

    def note_started(self, status: int) -> None:
        """A stream of answers begins."""
        self._note(status, ())
        if self._keeps is not Level.None_:
            self._event["responseStatus"] = {"metadata": {}, "code": status}
            self._write("ResponseStarted")

    def note_answer(self, status: int, raw: bytes) -> None:
        """What is answered, in JSON; the first answer counts."""
        if not self._status or status >= 400:
            self._note(status, (("content-type", "application/json"),))
            if self._keeps >= Level.RequestResponse or status >= 400:
                self._answered = raw

    # The exchange.

    async def read(self) -> bytes:
        return await self._inner.read()

    async def body(self, bytes_max: int) -> bytes:
        found = await self._inner.body(bytes_max)
        if self._keeps >= Level.Request:
            self._asked = found
        return found

    async def respond(self, response: HttpResponse) -> None:
        self._note(response.status, response.headers)
        if self._keeps >= Level.RequestResponse or response.status >= 400:
            self._answered = response.body
        self._inner.headers = self.headers
        await self._inner.respond(response)
        self.head_sent, self.over = self._inner.head_sent, self._inner.over

    def start(self, status: int, headers: Headers) -> None:
        self._note(status, headers)
        if self._keeps is not Level.None_:
            self._event["responseStatus"] = {"metadata": {}, "code": status}
            self._write("ResponseStarted")
        self._inner.headers = self.headers
        self._inner.start(status, headers)
        self.head_sent = self._inner.head_sent

    def upgrade(self, headers: Headers) -> Tunnel:
        self._inner.headers = self.headers
        tunnel = self._inner.upgrade(headers)
        self.head_sent = self.over = True
        self._note(101, headers)
        if self._keeps is not Level.None_:
            self._event["responseStatus"] = {"metadata": {}, "code": 101}
            self._write("ResponseStarted")
        return tunnel

    def _note(self, status: int, headers: Headers) -> None:
        self._status = status
        self._kind = next((v for k, v in headers if k.lower() == "content-type"), "")

    def _send_head(self, status: int, headers: Headers) -> None:
        del status, headers
        raise AssertionError("start passes it on")

    async def write(self, data: bytes) -> None:
        await self._inner.write(data)

    def finish(self) -> None:
        self._inner.finish()
        self.over = True

    def abandon(self) -> None:
        self._inner.abandon()

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return self._inner.auth_context()

    @property
    def peer(self) -> str:
        return self._inner.peer

    def _expected(self) -> None:
        raise AssertionError("read passes it on")

    def _taken(self, size: int) -> None:
        del size
        raise AssertionError("read passes it on")


def _user(user: User) -> dict[str, Any]:
    return {key: value for key, value in user_info(user).items() if value}


def _reference(info: RequestInfo) -> dict[str, str]:
    parts = {
        "resource": info.resource,
        "namespace": info.namespace,
        "name": info.name,
        "apiGroup": info.group,
        "apiVersion": info.version,
        "subresource": info.subresource,
    }
    return {key: value for key, value in parts.items() if value}


def _addresses(forwarded: str, peer: str) -> list[str]:
    found = [part.strip() for part in forwarded.split(",") if part.strip()][:16]
    return [*found, peer] if peer and peer not in found else found


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _bare(obj: dict[str, Any]) -> dict[str, Any]:
    """An object, or a list of them, without managed fields."""
    made = dict(obj)
    metadata = made.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        made["metadata"] = {k: v for k, v in metadata.items() if k != "managedFields"}
    items = made.get("items")
    if isinstance(items, list):
        made["items"] = [_bare(item) if isinstance(item, dict) else item for item in items]
    return made
