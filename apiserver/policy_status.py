"""Says in the status of each ValidatingAdmissionPolicy whether its expressions fit their types.

Runs in every API server: what it writes follows from what is stored.

Source: upstream's validatingadmissionpolicy-status-controller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from apiserver.admission.policy.type_checking import expression_warnings
from apiserver.cel.declared import Schema
from apiserver.reader import Reader
from apiserver.registry.internal import InternalWriter
from apiserver.registry.machinery import Machinery
from kubraft.api.errors import ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import VALIDATING_ADMISSION_POLICY as POLICY
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object
from kubraft.log import get_logger

RETRY_S = 1.0

_log = get_logger("apiserver.policies")


class PolicyStatus:
    """Looks at the policies whose generation it has not seen yet."""

    def __init__(self, reader: Reader, writer: InternalWriter, machinery: Machinery) -> None:
        self._reader = reader
        self._writer = writer
        self._machinery = machinery
        self._changed = asyncio.Event()
        if machinery.resources.find(POLICY.api_version, POLICY.kind) is not None:
            reader.add_handler(POLICY, self._on_change)

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        del old
        if new is not None and _is_new(new):
            self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for policy in [each for each in self._reader.list(POLICY) if _is_new(each)]:
                try:
                    await self._writer.update({**policy, "status": self._status(policy)}, "status")
                except (ConflictError, NotFoundError):
                    continue  # changed meanwhile: its change brings us back
                except ApiError as error:
                    name = policy["metadata"]["name"]
                    _log.warning("policy_not_seen_to", name=name, cause=error.message)
                    await asyncio.sleep(RETRY_S)
                    self._changed.set()

    def _status(self, policy: Object) -> dict[str, Any]:
        warnings = expression_warnings(policy, self._kinds_of, self._schema_of)
        checked: dict[str, Any] = {"expressionWarnings": warnings} if warnings else {}
        return {
            **(policy.get("status") or {}),
            "observedGeneration": policy["metadata"].get("generation", 1),
            "typeChecking": checked,
        }

    def _kinds_of(self, group: str, version: str, plural: str) -> Iterator[GroupVersionKind]:
        row = self._machinery.resources.find_plural(group, version, plural)
        if row is not None:
            yield row.gvk

    def _schema_of(self, kind: GroupVersionKind) -> Schema | None:
        row = self._machinery.resources.find(kind.api_version, kind.kind)
        if row is None:
            return None
        if row.custom is not None:
            known = {name: {"type": "string"} for name in ("apiVersion", "kind")}
            properties = {**(row.custom.schema.get("properties") or {}), **known, "metadata": {}}
            return {**row.custom.schema, "properties": properties}
        definitions, root = self._machinery.schemas.definition(kind)
        return _resolved(definitions, root, {})


def _is_new(policy: Object) -> bool:
    status = policy.get("status") or {}
    generation = policy["metadata"].get("generation", 1)
    return bool(status.get("observedGeneration") != generation)


def _resolved(
    definitions: Mapping[str, Schema], name: str, known: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """A definition with references followed; those that lead back to themselves make a circle."""
    if name not in known:
        made = known[name] = {}
        made.update(_plain(definitions.get(name) or {}, definitions, known))
    return known[name]


def _plain(
    schema: Schema, definitions: Mapping[str, Schema], known: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    if (ref := schema.get("$ref")) is not None:
        return _resolved(definitions, str(ref).rpartition("/")[2], known)
    made: dict[str, Any] = {}
    type_ = schema.get("type")
    if isinstance(type_, list):
        type_ = next((each for each in type_ if each != "null"), None)
    if type_ is not None:
        made["type"] = type_
    if "format" in schema:
        made["format"] = schema["format"]
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {
            name: _plain(child, definitions, known) for name, child in schema["properties"].items()
        }
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            made[part] = _plain(schema[part], definitions, known)
    return made
