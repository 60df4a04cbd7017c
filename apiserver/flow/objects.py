"""The configuration as objects of the API: the defaults are written, and changes are followed."""

from __future__ import annotations

from typing import Final

from apiserver.flow.control import FlowControl
from apiserver.flow.defaults import AUTOUPDATE, MANDATORY, default_levels, default_schemas
from apiserver.reader import Reader, Writer
from kubraft.api.errors import AlreadyExistsError, ConflictError
from kubraft.api.gvk import GroupVersionKind, gvk_of
from kubraft.api.object import Object, annotations_of
from kubraft.log import get_logger

GROUP: Final = "flowcontrol.apiserver.k8s.io"
FLOW_SCHEMA: Final = GroupVersionKind(GROUP, "v1", "FlowSchema")
PRIORITY_LEVEL: Final = GroupVersionKind(GROUP, "v1", "PriorityLevelConfiguration")
_ATTEMPTS_MAX: Final = 5

_log = get_logger("apiserver.flow")


def follow(control: FlowControl, reader: Reader) -> None:
    """Let `control` obey the objects of both kinds, from now on."""

    def changed(_before: Object | None, _after: Object | None) -> None:
        control.reload = read

    def read() -> None:
        control.configure(reader.list(PRIORITY_LEVEL), reader.list(FLOW_SCHEMA))

    for kind in (FLOW_SCHEMA, PRIORITY_LEVEL):
        reader.add_handler(kind, changed)


async def ensure_flow_objects(reader: Reader, writer: Writer) -> int:
    """Create the defaults, and mend those that may be; the number of objects that were written.

    As upstream: what the annotation says is not to be updated is left alone, unless it is
    mandatory. Several API servers may do this at the same time.

    Raises:
        ServiceUnavailableError: the store is away; what was written stays.
    """
    written = 0
    for wanted in (*default_levels(), *default_schemas()):
        written += await _ensure(reader, writer, wanted)
    if written:
        _log.info("flow_objects_written", objects_written=written)
    return written


async def _ensure(reader: Reader, writer: Writer, wanted: Object) -> bool:
    kind, name = gvk_of(wanted), wanted["metadata"]["name"]
    existing = reader.get(kind, "", name)
    for _ in range(_ATTEMPTS_MAX):
        try:
            if existing is None:
                await writer.create(wanted)
                return True
            if not may_update(existing) or holds(existing["spec"], wanted["spec"]):
                return False
            await writer.update({**existing, "spec": wanted["spec"]})
        except (AlreadyExistsError, ConflictError):
            existing = await writer.get(kind, "", name)  # another API server was faster
            continue
        return True
    return False


def may_update(existing: Object) -> bool:
    """Whether a default object is the server's to mend."""
    if existing["metadata"]["name"] in MANDATORY:
        return True
    said = annotations_of(existing).get(AUTOUPDATE)
    if said is None:  # then whoever changed the spec took it over
        generation: int = existing["metadata"].get("generation", 1)
        return generation == 1
    return said == "true"


def holds(existing: object, wanted: object) -> bool:
    """Whether all that is wanted is there; defaults may have been filled in besides."""
    if isinstance(wanted, dict) and isinstance(existing, dict):
        return all(name in existing and holds(existing[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list) and isinstance(existing, list):
        return len(wanted) == len(existing) and all(
            holds(had, want) for had, want in zip(existing, wanted, strict=True)
        )
    return existing == wanted
