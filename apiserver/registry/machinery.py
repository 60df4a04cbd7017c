"""What the verbs work with: the store, the reads, the schemas, time and chance."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random, SystemRandom

from apiserver.apply.types import Type
from apiserver.registry.allocator import ServiceAllocator
from apiserver.registry.custom.kind import CustomKind
from apiserver.registry.resource import Resource
from apiserver.registry.resources import Resources
from apiserver.registry.strategy import Strategy
from apiserver.schema.schemas import Decoded, FieldValidation, Schemas
from apiserver.storage.entry import Entry
from apiserver.storage.reads import Reads
from apiserver.storage.store import Store
from kubraft.api.errors import Cause
from kubraft.api.object import Object
from kubraft.api.time import Clock, format_time

# Types of custom kinds that are kept; one that was dropped is made anew.
CUSTOM_TYPES_MAX = 512


def _new_uid() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Machinery:
    """Shared by all verbs; holds no state of its own."""

    store: Store
    reads: Reads
    resources: Resources
    schemas: Schemas
    services: ServiceAllocator
    clock: Clock
    rng: Random = field(default_factory=SystemRandom)
    new_uid: Callable[[], str] = _new_uid

    def now(self) -> str:
        """The time as metadata has it."""
        return format_time(self.clock.now())

    async def find(self, key: str) -> Entry | None:
        """An entry as the store has it now, past the caches."""
        kv = await self.store.find(key)
        return Entry.stored(kv.key, kv.mod_revision, kv.value) if kv else None

    def decode(
        self,
        resource: Resource,
        obj: Object,
        mode: FieldValidation,
        repeated: Sequence[str] = (),
    ) -> Decoded:
        """Check the shape of an object of any kind; raises and drops as `Schemas.decode`."""
        if resource.custom is None:
            return self.schemas.decode(resource.gvk, obj, mode, repeated)
        return self.schemas.decode_custom(resource.gvk, resource.custom.schema, obj, mode, repeated)

    def schema_causes(self, resource: Resource, obj: Object) -> list[Cause]:
        """Required fields that are missing; custom kinds look for them in their strategy."""
        return [] if resource.custom else self.schemas.validate(resource.gvk, obj)

    def merge_type(self, resource: Resource) -> Type:
        """How objects of a kind merge, for those who manage their fields."""
        if resource.custom is None:
            return self.schemas.merge_type(resource.gvk)
        return _custom_type(self.schemas, resource.custom)

    def allocate(self, resource: Resource, obj: Object) -> list[Cause]:
        """Fill in what the cluster gives to an object of this kind."""
        return self.services.allocate(obj) if claims_things(resource.strategy) else []


@lru_cache(maxsize=CUSTOM_TYPES_MAX)
def _custom_type(schemas: Schemas, kind: CustomKind) -> Type:
    return schemas.types.of_custom(kind.schema)


def claims_things(strategy: Strategy) -> bool:
    """Whether objects of this kind hold something that no other may hold."""
    return type(strategy).claims is not Strategy.claims
