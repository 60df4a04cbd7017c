"""Makes the default RBAC objects exist, and gives back to them what they lost.

As upstream: what somebody added to a default role or binding stays, what is missing comes back,
and an object whose autoupdate annotation is "false" is left alone. Several API servers may do this
at the same time.

Source: Kubernetes documentation, "Auto-reconciliation".
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable
from typing import Any, Final

from apiserver.authz.bootstrap_policy import AUTOUPDATE, bootstrap_objects
from apiserver.authz.rule import parse_rules, uncovered
from apiserver.reader import Reader, Writer
from kubraft.api.errors import AlreadyExistsError, ConflictError
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object, annotations_of, labels_of
from kubraft.log import get_logger

WRITES_IN_FLIGHT_MAX: Final = 16
_ATTEMPTS_MAX: Final = 5

_log = get_logger("apiserver.authz")


async def ensure_bootstrap_policy(reader: Reader, writer: Writer) -> int:
    """Create or complete the default roles and bindings; the number of objects that were written.

    Call it once the caches are filled.

    Raises:
        ServiceUnavailableError: the store is away; what was written stays.
    """
    gate = asyncio.Semaphore(WRITES_IN_FLIGHT_MAX)

    async def ensure(wanted: Object) -> bool:
        async with gate:
            return await _ensure(reader, writer, wanted)

    written = sum(await asyncio.gather(*map(ensure, bootstrap_objects())))
    if written:
        _log.info("rbac_bootstrapped", objects_written=written)
    return written


async def _ensure(reader: Reader, writer: Writer, wanted: Object) -> bool:
    gvk, name = gvk_of(wanted), wanted["metadata"]["name"]
    namespace = wanted["metadata"].get("namespace", "")
    existing = reader.get(gvk, namespace, name)
    for _ in range(_ATTEMPTS_MAX):
        try:
            if existing is None:
                await writer.create(wanted)
                return True
            completed = reconciled(existing, wanted)
            if completed is None:
                return False
            await writer.update(completed)
        except (AlreadyExistsError, ConflictError):
            existing = await writer.get(gvk, namespace, name)  # another API server was faster
            continue
        return True
    return False


def reconciled(existing: Object, wanted: Object) -> Object | None:
    """`existing` with what it lacks of `wanted`, or None where it lacks nothing.

    A binding whose role was changed cannot be mended (roleRef is immutable) and is left alone.
    """
    if annotations_of(existing).get(AUTOUPDATE) == "false":
        return None
    changed = copy.deepcopy(existing)
    metadata = changed["metadata"]
    for field, values in (("labels", labels_of(wanted)), ("annotations", annotations_of(wanted))):
        metadata[field] = {**values, **(metadata.get(field) or {})}
    if "roleRef" in wanted:
        if existing.get("roleRef") != wanted["roleRef"]:
            return None
        changed["subjects"] = _joined(existing.get("subjects"), wanted["subjects"])
    elif "aggregationRule" in wanted:
        selectors = "clusterRoleSelectors"
        rule = existing.get("aggregationRule") or {}
        changed["aggregationRule"] = {
            selectors: _joined(rule.get(selectors), wanted["aggregationRule"][selectors])
        }
        changed.setdefault("rules", wanted["rules"])  # the rest is the controller's
    else:
        held, needed = parse_rules(existing.get("rules")), parse_rules(wanted["rules"])
        missing = [
            rule
            for rule, parsed in zip(wanted["rules"], needed, strict=True)
            if uncovered(held, [parsed])
        ]
        changed["rules"] = [*(existing.get("rules") or ()), *missing]
    return None if _same(changed, existing) else changed


def _joined(existing: Iterable[Any] | None, wanted: Iterable[Any]) -> list[Any]:
    """What exists, in its order, then what is wanted besides."""
    joined = list(existing or ())
    joined.extend(value for value in wanted if value not in joined)
    return joined


def _same(changed: Object, existing: Object) -> bool:
    return {k: v for k, v in changed.items() if v} == {k: v for k, v in existing.items() if v}
