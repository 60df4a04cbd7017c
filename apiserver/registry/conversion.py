"""A version of a built-in kind that lies in the store as another.

What is read is converted on its way out, once for each entry; what is written on its way in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from apiserver.storage import codec
from apiserver.storage.entry import Entry
from kubraft.api.object import Object


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """How to get from this version to the one in the store, and back; both make fresh objects."""

    to_stored: Callable[[Object], Object]
    from_stored: Callable[[Object], Object]
    # Where what can be selected by here lies in the store's version.
    fields: Mapping[str, str] = field(default_factory=dict)

    def presented(self, entry: Entry) -> Entry:
        """An entry of the store in this version."""
        found: Entry = entry.variant(self, self._present)
        return found

    def stored(self, obj: Object) -> Object:
        """An object as it is written."""
        return self.to_stored(obj)

    def is_current(self, entry: Entry) -> bool:
        """Whether the entry has the form in which it would be written."""
        del entry
        return True

    def _present(self, entry: Entry) -> Entry:
        obj = self.from_stored(entry.decode())
        return Entry.stored(entry.key, entry.revision, codec.encode(obj))
