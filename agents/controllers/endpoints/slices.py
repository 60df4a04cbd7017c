"""Brings the EndpointSlices of one owner to what is wanted, with few writes.

Endpoints with the same ports share slices, at most `ENDPOINTS_MAX` in each. What is in a slice
stays there; what is new fills slices that change anyway, then those with room, then new ones. Where
there is nothing to reach, one empty slice of each address type says so.

Source: KEP-752; upstream's endpointslice reconciler (labels, sizes, the empty slice).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from agents.controllers.action import Action, Create, Delete, Update
from agents.controllers.ownership import controller_reference
from kubraft.api.gvk import ENDPOINT_SLICE
from kubraft.api.names import generate_name
from kubraft.api.object import Object, key_of, labels_of, uid_of

# Source: upstream's flag --max-endpoints-per-slice.
ENDPOINTS_MAX = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"

Port = dict[str, Any]
# Address type, and the ports as JSON text.
Group = tuple[str, str]


@dataclass(slots=True)
class Wanted:
    """What an owner's slices should hold."""

    owner: Object
    labels: dict[str, str]  # of each slice, SERVICE_NAME and MANAGED_BY among them
    families: Sequence[str]
    groups: dict[Group, list[Object]] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    def add(self, family: str, ports: Sequence[Port], endpoint: Object) -> None:
        """One more endpoint."""
        self.groups.setdefault((family, _text(ports)), []).append(endpoint)


@dataclass(slots=True)
class _Slice:
    """An existing slice, and what it is to hold."""

    obj: Object
    endpoints: list[Object]

    @property
    def is_changed(self) -> bool:
        return self.endpoints != (self.obj.get("endpoints") or [])


def plan(wanted: Wanted, existing: Sequence[Object], taken: Collection[str] = ()) -> list[Action]:
    """The writes, deletions last, so that no endpoint is ever in no slice.

    Args:
        existing: the slices that the owner's controller manages.
        taken: names of other slices of the namespace.
    """
    groups = dict(wanted.groups)
    for family in wanted.families:
        if not any(known == family for known, _ in groups):
            groups[family, _text(())] = []
    names = {key_of(obj).name for obj in existing} | set(taken)
    by_group: dict[Group, list[Object]] = {}
    for obj in sorted(existing, key=lambda o: str(key_of(o))):
        by_group.setdefault((obj["addressType"], _text(obj.get("ports") or ())), []).append(obj)
    writes: list[Action] = []
    deletes: list[Action] = []
    for group in sorted(groups.keys() | by_group.keys()):
        slices = [_Slice(obj, obj.get("endpoints") or []) for obj in by_group.get(group, ())]
        if group not in groups:
            deletes += [_delete(known.obj) for known in slices]
            continue
        for rest in _chunks(_fill(slices, groups[group]), is_needed=not slices):
            name = _name(wanted.owner, group, names)
            names.add(name)
            writes.append(Create(_new(wanted, group, name, rest)))
        kept = [known for known in slices if known.endpoints] or slices[: not groups[group]]
        deletes += [_delete(known.obj) for known in slices if known not in kept]
        writes += [Update(fresh) for known in kept if (fresh := _updated(wanted, known))]
    return [*writes, *deletes]


def _fill(slices: list[_Slice], endpoints: Sequence[Object]) -> list[Object]:
    """Distribute `endpoints` over `slices`; returns what found no room."""
    left = {_identity(endpoint): endpoint for endpoint in endpoints}
    for known in slices:
        stays = (_identity(endpoint) for endpoint in known.endpoints)
        known.endpoints = [left.pop(identity) for identity in stays if identity in left]
    rest = [left[identity] for identity in sorted(left)]
    for known in sorted(slices, key=lambda s: (not s.is_changed, -len(s.endpoints))):
        room = ENDPOINTS_MAX - len(known.endpoints)
        if room > 0 and rest:
            known.endpoints, rest = [*known.endpoints, *rest[:room]], rest[room:]
    return rest


def _chunks(endpoints: list[Object], *, is_needed: bool) -> list[list[Object]]:
    starts = range(0, len(endpoints), ENDPOINTS_MAX)
    chunks = [endpoints[start : start + ENDPOINTS_MAX] for start in starts]
    return chunks or [[]] * is_needed


def _identity(endpoint: Mapping[str, Any]) -> tuple[str, ...]:
    target = endpoint.get("targetRef") or {}
    return (target.get("uid", ""), *endpoint["addresses"])


def _text(ports: Sequence[Port]) -> str:
    entries = [{k: v for k, v in port.items() if v is not None} for port in ports]
    for entry in entries:
        entry.setdefault("name", "")
    return json.dumps(sorted(entries, key=lambda p: (p["name"], json.dumps(p, sort_keys=True))),
                      sort_keys=True)  # fmt: skip


def _name(owner: Object, group: Group, taken: Collection[str]) -> str:
    """A name that a repeated try finds again, so that a lost answer makes no second slice."""
    seeded = Random("\n".join((uid_of(owner), *group)))  # noqa: S311 - a hash, no secret
    while True:
        name = generate_name(f"{owner['metadata']['name']}-", seeded)
        if name not in taken:
            return name


def _new(wanted: Wanted, group: Group, name: str, endpoints: list[Object]) -> Object:
    owner = wanted.owner
    metadata: Object = {
        "name": name,
        "generateName": f"{owner['metadata']['name']}-",
        "namespace": owner["metadata"]["namespace"],
        "labels": dict(wanted.labels),
        "ownerReferences": [controller_reference(owner)],
    }
    if wanted.annotations:
        metadata["annotations"] = dict(wanted.annotations)
    return {
        "apiVersion": ENDPOINT_SLICE.api_version,
        "kind": ENDPOINT_SLICE.kind,
        "metadata": metadata,
        "addressType": group[0],
        "endpoints": endpoints,
        "ports": json.loads(group[1]),
    }


def _updated(wanted: Wanted, known: _Slice) -> Object | None:
    """The slice as it should be, None where it is so already."""
    obj = known.obj
    annotations = {**(obj["metadata"].get("annotations") or {}), **wanted.annotations}
    same_labels = labels_of(obj) == wanted.labels
    same = annotations == (obj["metadata"].get("annotations") or {})
    if same_labels and same and not known.is_changed:
        return None
    metadata = {**obj["metadata"], "labels": dict(wanted.labels)}
    if annotations:
        metadata["annotations"] = annotations
    return {**obj, "metadata": metadata, "endpoints": known.endpoints}


def _delete(obj: Object) -> Delete:
    return Delete(ENDPOINT_SLICE, key_of(obj), uid_of(obj))
