"""Events as people read them: the newest last, with ages and counts.

Source: kubectl's `events` and the Events section of `describe`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from kubraft.api.duration import age
from kubraft.api.gvk import EVENT
from kubraft.api.object import Object
from kubraft.cli.kind_table import KindTable, parse_targets
from kubraft.cli.session import Session
from kubraft.cli.table_view import aligned


def last_seen(event: Object) -> str:
    """When it happened last; empty where the Event does not say."""
    series = event.get("series") or {}
    metadata = event["metadata"]
    moment: str = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("firstTimestamp")
        or metadata.get("creationTimestamp")
        or ""
    )
    return moment


def in_order(events: Iterable[Object]) -> list[Object]:
    """The newest last."""
    return sorted(events, key=lambda event: (last_seen(event)[:19], event["metadata"]["name"]))


def shown_age(event: Object, now: datetime) -> str:
    """Say "12s", or "12s (x4 over 3m)" where it happened again and again."""
    series = event.get("series") or {}
    count = series.get("count") or event.get("count") or 1
    last = age(last_seen(event), now)
    first = event.get("firstTimestamp") or event.get("eventTime")
    return f"{last} (x{count} over {age(first, now)})" if count > 1 and first else last


def event_row(event: Object, now: datetime) -> list[str]:
    """Type, reason, age, source and message."""
    source = (event.get("source") or {}).get("component") or event.get("reportingComponent", "")
    message = " ".join(str(event.get("message", "")).split())
    return [
        event.get("type", ""), event.get("reason", ""), shown_age(event, now), source, message
    ]  # fmt: skip


async def events_of(session: Session, obj: Object) -> list[Object]:
    """The Events about one object."""
    metadata = obj["metadata"]
    terms = {
        "involvedObject.kind": obj["kind"],
        "involvedObject.name": metadata["name"],
        "involvedObject.uid": metadata.get("uid", ""),
    }
    selector = ",".join(f"{field}={value}" for field, value in terms.items() if value)
    found = await session.client.list(EVENT, metadata.get("namespace", ""), field_selector=selector)
    return in_order(found.items)


async def show_events(
    session: Session, *, about: str, all_namespaces: bool, types: Sequence[str], watch: bool
) -> None:
    """List Events, of one object where `about` names it, and new ones as they come."""
    namespace = "" if all_namespaces else session.namespace
    selector = _about(await session.kinds(), about) if about else ""
    wanted = {type_.capitalize() for type_ in types}
    found = await session.client.list(EVENT, namespace, field_selector=selector)
    events = [e for e in in_order(found.items) if not wanted or e.get("type") in wanted]
    if not events and not watch:
        where = "" if all_namespaces else f" in {session.namespace} namespace."
        session.terminal.err(f"No events found{where}")
        return
    header = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    if all_namespaces:
        header.insert(0, "NAMESPACE")
    widths: list[int] = []
    now = datetime.now(UTC)
    rows = [header, *(_row(event, now, all_namespaces=all_namespaces) for event in events)]
    for line in aligned(rows, widths):
        session.terminal.out(line)
    if watch:
        stream = session.client.watch(
            EVENT, namespace, resource_version=found.resource_version, field_selector=selector
        )
        async for change in stream:
            if change.type in ("ADDED", "MODIFIED") and (
                not wanted or change.object.get("type") in wanted
            ):
                row = _row(change.object, datetime.now(UTC), all_namespaces=all_namespaces)
                session.terminal.out(aligned([row], widths)[0])


def _about(kinds: KindTable, about: str) -> str:
    (target, *_rest) = parse_targets(kinds, [about] if "/" in about else about.split())
    terms = [f"involvedObject.kind={target.kind.gvk.kind}"]
    terms += [f"involvedObject.name={name}" for name in target.names[:1]]
    return ",".join(terms)


def _row(event: Object, now: datetime, *, all_namespaces: bool) -> list[str]:
    involved: dict[str, Any] = event.get("involvedObject") or {}
    type_, reason, seen, _source, message = event_row(event, now)
    shown = f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"
    row = [seen, type_, reason, shown, message]
    return [event["metadata"].get("namespace", ""), *row] if all_namespaces else row
