"""Finds the objects to describe, and what belongs to them, and prints a page for each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from kubraft.api.errors import ApiError, ForbiddenError, NotFoundError
from kubraft.api.gvk import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    DEPLOYMENT,
    LIMIT_RANGE,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    RESOURCE_QUOTA,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    gvk_of,
)
from kubraft.api.object import Object, annotations_of, labels_of
from kubraft.cli.describe.other import (
    describe_any,
    describe_binding,
    describe_namespace,
    describe_node,
    describe_role,
    describe_service,
)
from kubraft.cli.describe.page import NONE, Page, long_time
from kubraft.cli.describe.pod import describe_pod
from kubraft.cli.describe.workload import describe_deployment, describe_replica_set, selects
from kubraft.cli.event_list import event_row, events_of
from kubraft.cli.failure import FailedError, failure_line
from kubraft.cli.get import Options, missing, namespace_for, nothing_found
from kubraft.cli.kind_table import Target, parse_targets
from kubraft.cli.session import Session
from kubraft.cli.three_way import LAST_APPLIED

_HIDDEN_ANNOTATIONS = (LAST_APPLIED,)


async def describe(
    session: Session,
    words: Sequence[str],
    *,
    label_selector: str,
    all_namespaces: bool,
    show_events: bool,
) -> None:
    """Print every object that `words` name; a name may also be the beginning of names."""
    options = Options(label_selector=label_selector, all_namespaces=all_namespaces)
    targets = parse_targets(await session.kinds(), words, "describe")
    objects: list[Object] = []
    failed = False
    for target in targets:
        try:
            objects += await _objects_of(session, target, options)
        except ApiError as error:
            session.terminal.err(failure_line(error))
            failed = True
    for index, obj in enumerate(objects):
        if index:
            session.terminal.out("\n")
        session.terminal.out(await describe_one(session, obj, show_events=show_events))
    if failed:
        raise FailedError
    if not objects:
        session.terminal.err(nothing_found(session, targets, options))


async def _objects_of(session: Session, target: Target, options: Options) -> list[Object]:
    client, gvk = session.client, target.kind.gvk
    namespace = namespace_for(session, target, options)
    if not target.names:
        found = await client.list(gvk, namespace, label_selector=options.label_selector)
        return found.items
    objects: list[Object] = []
    for name in target.names:
        try:
            objects.append(await client.get(gvk, name, namespace))
        except NotFoundError:
            found = await client.list(gvk, namespace)
            begun = [o for o in found.items if o["metadata"]["name"].startswith(name)]
            if not begun:
                raise missing(target, name) from None
            objects += begun
    return objects


async def describe_one(session: Session, obj: Object, *, show_events: bool = True) -> str:
    """The page of one object."""
    page = Page()
    metadata = obj["metadata"]
    page.field("Name", metadata["name"])
    page.maybe("Namespace", metadata.get("namespace"))
    page.field("Labels", labels_of(obj))
    annotations = annotations_of(obj).items()
    page.field(
        "Annotations", [f"{k}: {v}" for k, v in sorted(annotations) if k not in _HIDDEN_ANNOTATIONS]
    )
    if gvk_of(obj) != POD:
        page.field("CreationTimestamp", long_time(metadata.get("creationTimestamp")))
    if metadata.get("deletionTimestamp") and gvk_of(obj) != POD:
        page.field("DeletionTimestamp", long_time(metadata["deletionTimestamp"]))
        page.maybe("Finalizers", metadata.get("finalizers"))
    await _body(session, page, obj)
    if show_events:
        await _events(session, page, obj)
    return page.text()


async def _body(session: Session, page: Page, obj: Object) -> None:
    client = session.client
    namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
    match gvk_of(obj):
        case gvk if gvk == POD:
            describe_pod(page, obj)
        case gvk if gvk == DEPLOYMENT:
            describe_deployment(page, obj, (await client.list(REPLICA_SET, namespace)).items)
        case gvk if gvk == REPLICA_SET:
            describe_replica_set(page, obj, (await client.list(POD, namespace)).items)
        case gvk if gvk == NODE:
            pods = await client.list(POD, field_selector=f"spec.nodeName={name}")
            describe_node(page, obj, pods.items)
        case gvk if gvk == SERVICE:
            pods = await client.list(POD, namespace)
            selector = obj["spec"].get("selector")
            describe_service(page, obj, [p for p in pods.items if selects(selector, p)])
        case gvk if gvk == NAMESPACE:
            quotas = await client.list(RESOURCE_QUOTA, name)
            limits = await client.list(LIMIT_RANGE, name)
            describe_namespace(page, obj, [*quotas.items, *limits.items])
        case gvk if gvk in (ROLE, CLUSTER_ROLE):
            describe_role(page, obj)
        case gvk if gvk in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
            describe_binding(page, obj)
        case _:
            describe_any(page, obj)


async def _events(session: Session, page: Page, obj: Object) -> None:
    try:
        events = await events_of(session, obj)
    except ForbiddenError:
        page.field("Events", NONE)
        return
    now = datetime.now(UTC)
    page.table(
        "Events",
        ["Type", "Reason", "Age", "From", "Message"],
        (event_row(event, now) for event in events),
    )
