"""Reports what happens to objects as Event objects, without ever holding up who reports.

Source: Kubernetes API reference, Event v1 (core).
"""

from __future__ import annotations

import asyncio
import platform
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from kubraft.api.errors import (
    ApiError,
    NotFoundError,
    ServiceUnavailableError,
    TimeoutError_,
    TooManyRequestsError,
)
from kubraft.api.gvk import EVENT, GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.time import Clock, SystemClock, format_time
from kubraft.client.event_correlation import COMBINED_PREFIX, Correlator, Happening, Series
from kubraft.log import get_logger

# Different Events that wait to be sent; more are dropped and counted.
PENDING_MAX = 4096
MESSAGE_CHARS_MAX = 1024
_ATTEMPTS = 12
_RETRY_S = 1.0


class EventClient(Protocol):
    """The calls that reporting needs; ApiClient has them."""

    async def create(self, obj: Object) -> Object: ...

    async def patch(
        self, gvk: GroupVersionKind, name: str, merge: dict[str, Any], namespace: str = ""
    ) -> Object: ...


class _Pending(NamedTuple):
    involved: dict[str, str]
    happening: Happening
    happened: str
    times: int


class EventRecorder:
    """Queues Events; the task that runs `run` sends them in order."""

    def __init__(
        self,
        client: EventClient,
        component: str,
        *,
        host: str | None = None,
        clock: Clock | None = None,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._component = component
        self._host = platform.node() if host is None else host
        self._clock = clock or SystemClock()
        self._now_ns = now_ns or (lambda: int(self._clock.now().timestamp() * 1e9))
        self._correlator = Correlator()
        self._pending: OrderedDict[Happening, _Pending] = OrderedDict()
        self._wake = asyncio.Event()
        self._last_ns = 0
        self.dropped_count = 0
        self._log = get_logger("events")

    def event(
        self, obj: Object, type_: str, reason: str, message: str, *, field_path: str = ""
    ) -> None:
        """Report that `reason` happened to `obj`; never waits, never raises.

        Args:
            obj: an object, or an object reference (`kind`, `name`, ... without `metadata`).
            type_: "Normal" or "Warning".
            reason: one CamelCase word, for programs.
            message: a sentence, for people.
            field_path: the part of the object it is about, "spec.containers{web}".
        """
        involved = _reference(obj, field_path)
        subject = "/".join(
            (involved["kind"], involved["namespace"], involved["name"], involved["fieldPath"])
        )
        if len(message) > MESSAGE_CHARS_MAX:
            message = message[: MESSAGE_CHARS_MAX - 3] + "..."
        happening = self._correlator.correlate(
            Happening(involved["uid"], subject, type_, reason, message),
            self._clock.monotonic_s(),
        )
        if happening is None:
            self.dropped_count += 1
            return
        waiting = self._pending.get(_identity(happening))
        if waiting is None and len(self._pending) >= PENDING_MAX:
            self.dropped_count += 1
            return
        count = waiting.times + 1 if waiting else 1
        self._pending[_identity(happening)] = _Pending(
            involved, happening, format_time(self._clock.now()), count
        )
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                _, pending = self._pending.popitem(last=False)
                await self._send(pending)

    async def flush(self) -> None:
        """Send what waits, one try each: for the end of a process."""
        while self._pending:
            _, pending = self._pending.popitem(last=False)
            try:
                await self._record(pending)
            except ApiError as error:
                self._log.debug("not_sent", reason=pending.happening.reason, cause=error.message)
                return

    async def _send(self, pending: _Pending) -> None:
        for _ in range(_ATTEMPTS):
            try:
                await self._record(pending)
            except (ServiceUnavailableError, TimeoutError_, TooManyRequestsError) as error:
                cause = error.message
            except ApiError as error:
                # The Namespace is going, or the object is not to our server's liking.
                self._log.debug("refused", reason=pending.happening.reason, cause=error.message)
                return
            else:
                return
            await self._clock.sleep(_RETRY_S)
        self.dropped_count += 1
        self._log.warning("not_sent", reason=pending.happening.reason, cause=cause)

    async def _record(self, pending: _Pending) -> None:
        key = _identity(pending.happening)
        series = self._correlator.series(key)
        if series.name:
            try:
                await self._count(pending, series)
            except NotFoundError:  # it expired
                self._correlator.forget(key)
                series = self._correlator.series(key)
            else:
                return
        event = self._event_object(pending)
        await self._client.create(event)
        series.name = event["metadata"]["name"]
        series.count = pending.times

    async def _count(self, pending: _Pending, series: Series) -> None:
        count = series.count + pending.times
        change: dict[str, Any] = {
            "count": count,
            "lastTimestamp": pending.happened,
            "message": pending.happening.message,
        }
        namespace = pending.involved["namespace"] or "default"
        await self._client.patch(EVENT, series.name, change, namespace)
        series.count = count

    def _event_object(self, pending: _Pending) -> Object:
        involved, happening = pending.involved, pending.happening
        # Names are unique even where the clock stands still.
        self._last_ns = max(self._now_ns(), self._last_ns + 1)
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {
                "name": f"{involved['name']}.{self._last_ns:x}",
                "namespace": involved["namespace"] or "default",
            },
            "involvedObject": {name: value for name, value in involved.items() if value},
            "reason": happening.reason,
            "message": happening.message,
            "source": {"component": self._component, "host": self._host},
            "firstTimestamp": pending.happened,
            "lastTimestamp": pending.happened,
            "count": pending.times,
            "type": happening.type,
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }


def _reference(obj: Object, field_path: str) -> dict[str, str]:
    metadata = obj.get("metadata", obj)
    return {
        "kind": obj.get("kind", ""),
        "namespace": metadata.get("namespace", ""),
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "apiVersion": obj.get("apiVersion", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
        "fieldPath": field_path or ("" if "metadata" in obj else obj.get("fieldPath", "")),
    }


def _identity(happening: Happening) -> Happening:
    """What counts as the same Event: of combined ones, whatever they say."""
    if happening.message.startswith(COMBINED_PREFIX):
        return happening._replace(message=COMBINED_PREFIX)
    return happening
