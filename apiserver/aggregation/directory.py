"""Which versions other servers have, as the cache shows it."""

from __future__ import annotations

from collections.abc import Callable

from apiserver.aggregation.services import GroupVersion, Priority, Remote, read
from apiserver.reader import Reader
from apiserver.registry.kinds.apiregistration import API_SERVICE
from kubraft.api.object import Object


class Directory:
    """Follows the APIServices; what it says is of this moment."""

    def __init__(self, reader: Reader) -> None:
        # Counts changes of what clients discover.
        self.generation = 0
        self.remotes: dict[GroupVersion, Remote] = {}
        self.priorities: dict[GroupVersion, Priority] = {}
        self._listeners: list[Callable[[Remote | None, Remote | None], None]] = []
        reader.add_handler(API_SERVICE, self._on_change)

    def listen(self, listener: Callable[[Remote | None, Remote | None], None]) -> None:
        """Have `listener` called with a remote before and after each change."""
        self._listeners.append(listener)

    def find(self, group: str, version: str) -> Remote | None:
        """The server that has a version, if it is another."""
        return self.remotes.get((group, version)) if self.remotes else None

    def find_path(self, path: str) -> Remote | None:
        """The other server that a path below /apis/GROUP/VERSION belongs to."""
        if not self.remotes:
            return None
        parts = path.strip("/").split("/")
        if parts[0] == "api" and len(parts) >= 2:
            return self.remotes.get(("", parts[1]))
        if parts[0] == "apis" and len(parts) >= 3:
            return self.remotes.get((parts[1], parts[2]))
        return None

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        before = read(old) if old is not None else None
        after = read(new) if new is not None else None
        changed = new or old
        assert changed is not None
        spec = changed["spec"]
        key = (spec.get("group") or "", spec.get("version") or "")
        priority = None
        if new is not None:
            priority = Priority(spec["groupPriorityMinimum"], spec["versionPriority"])
        if before != after or self.priorities.get(key) != priority:
            self.generation += 1
        if priority is not None:
            self.priorities[key] = priority
        else:
            self.priorities.pop(key, None)
        if after is not None:
            self.remotes[key] = after
        else:
            self.remotes.pop(key, None)
        if before != after:
            for listener in self._listeners:
                listener(before, after)
