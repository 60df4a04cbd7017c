"""What the API answers with, as clients see it."""

from __future__ import annotations

from typing import NamedTuple

from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object


class ObjectList(NamedTuple):
    """A page of objects, as they all were at `resource_version`."""

    items: list[Object]
    resource_version: str
    continue_token: str = ""


class WatchEvent(NamedTuple):
    """One step of a watch. ERROR never comes out: it is raised.

    `initial_events_end` marks the BOOKMARK after the events that told what existed.
    """

    type: str  # "ADDED", "MODIFIED", "DELETED", "BOOKMARK"
    object: Object
    resource_version: str
    initial_events_end: bool = False


class Kind(NamedTuple):
    """A kind that the server has, with what it takes to name and print it."""

    gvk: GroupVersionKind
    plural: str
    singular: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    namespaced: bool
    verbs: tuple[str, ...]
    subresources: tuple[str, ...]
