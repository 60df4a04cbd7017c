"""Calls of gRPC under audit: by the same policy and into the same log as requests of REST.

Their requestURI is the path of the method; the verb is the API's own, as for REST. A list's items
are left out at every level: who asks for that much asks over REST.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import orjson

from apiserver import notes
from apiserver.audit.record import Auditor, Record
from apiserver.registry.call import Call
from apiserver.rest.request_info import RequestInfo
from apiserver.rpc.failure import Context
from apiserver.user import User
from kubraft.api.errors import ApiError, InternalError
from kubraft.grpc_server.exchange import Exchange, Headers, HttpRequest

_JSON = ("content-type", "application/json")
_HEADERS = frozenset(("user-agent", "audit-id", "x-forwarded-for"))


class _Audit:
    """One call: its record, and what is known of it."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.user = User("")
        self.identified = False
        self.created = False


# Each call has a task of its own, and with it a context.
_current: ContextVar[_Audit | None] = ContextVar("audited_call", default=None)


def note_user(user: User) -> None:
    """Who calls."""
    if (audit := _current.get()) is not None:
        audit.user = user


def note_call(call: Call, verb: str) -> None:
    """What is asked for; the first thing that is said counts."""
    audit = _current.get()
    if audit is None or audit.identified:
        return
    audit.identified, audit.created = True, verb == "create"
    kind = call.resource.gvk
    namespace = call.namespace if call.resource.namespaced else ""
    info = RequestInfo(
        verb,
        audit.record.request.path,
        kind.group,
        kind.version,
        namespace,
        call.resource.plural,
        call.name,
        call.subresource,
    )
    audit.record.identify(call.user, info)


def note_asked(value: Any) -> None:
    """The object or the patch that was sent; after `note_call`."""
    if (audit := _current.get()) is not None:
        audit.record.note_asked(orjson.dumps(value))


def note_answer(raw: bytes) -> None:
    """The object that is answered, in JSON."""
    if (audit := _current.get()) is not None:
        audit.record.note_answer(201 if audit.created else 200, raw)


def unary(
    auditor: Auditor | None, path: str, handle: Callable[[Any, Context], Awaitable[Any]]
) -> Callable[[Any, Context], Awaitable[Any]]:
    """The handler under audit; itself where there is no audit."""
    if auditor is None:
        return handle

    @functools.wraps(handle)
    async def audited(request: Any, context: Context) -> Any:
        audit = _begin(auditor, path, context)
        try:
            answer = await handle(request, context)
        except Exception as error:
            _failed(audit, error)
            raise
        else:
            note_answer(b"")
            return answer
        finally:
            _end(audit)

    return audited


def streaming(
    auditor: Auditor | None, path: str, handle: Callable[[Any, Context], AsyncIterator[Any]]
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    """As `unary`, for a stream of answers."""
    if auditor is None:
        return handle

    @functools.wraps(handle)
    async def audited(request: Any, context: Context) -> AsyncIterator[Any]:
        audit, begun = _begin(auditor, path, context), False
        try:
            async for answer in handle(request, context):
                if not begun:
                    begun = True
                    audit.record.note_started(200)
                yield answer
        except Exception as error:
            _failed(audit, error)
            raise
        finally:
            _end(audit)

    return audited


def _begin(auditor: Auditor, path: str, context: Context) -> _Audit:
    audit = _Audit(auditor.open(_CallExchange(path, context), notes.begin()))
    _current.set(audit)
    return audit


def _failed(audit: _Audit, error: Exception) -> None:
    if not isinstance(error, ApiError):
        error = InternalError("internal error")
    audit.record.note_answer(error.code, orjson.dumps(error.to_status()))


def _end(audit: _Audit) -> None:
    if not audit.identified:
        audit.record.identify(audit.user, RequestInfo("post", audit.record.request.path))
    audit.record.close()


class _CallExchange(Exchange):
    """What a record asks of a request; nothing is sent by it."""

    def __init__(self, path: str, context: Context) -> None:
        given: Any = context.invocation_metadata() or ()
        kept = [(k, v) for k, v in given if k in _HEADERS and isinstance(v, str)]
        super().__init__(HttpRequest("POST", path, "", "", (_JSON, *kept), secure=True))
        self._context = context

    @property
    def peer(self) -> str:
        # ipv4:1.2.3.4:5, ipv6:%5B::1%5D:5
        _, _, address = self._context.peer().partition(":")
        host = address.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]")
        return host.strip("[]")

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {}

    def _send_head(self, status: int, headers: Headers) -> None:
        del status, headers
        raise AssertionError("nothing is sent by it")

    async def write(self, data: bytes) -> None:
        del data
        raise AssertionError("nothing is sent by it")

    def finish(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def _expected(self) -> None:
        pass

    def _taken(self, size: int) -> None:
        del size
