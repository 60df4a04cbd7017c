"""Objects as the store keeps them, and as the version that was asked for shows them.

For most built-in kinds, which have one version, both are the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from apiserver.registry.call import Written
from apiserver.registry.resource import Resource
from apiserver.storage.entry import Entry, WatchEvent
from apiserver.storage.reads import Listing
from kubraft.api.object import Object


async def presented(resource: Resource, entry: Entry) -> Entry:
    """An entry of the store as a client gets it."""
    if resource.form is None:
        return entry
    if resource.custom is not None:
        await resource.custom.ready([entry])
    return resource.form.presented(entry)


async def presented_write(resource: Resource, written: Written) -> Written:
    """The answer to a write."""
    return written._replace(entry=await presented(resource, written.entry))


async def presented_list(resource: Resource, listing: Listing) -> Listing:
    """A page of a list."""
    if resource.form is None:
        return listing
    if resource.custom is not None:
        await resource.custom.ready(listing.entries)
    return listing._replace(entries=[resource.form.presented(each) for each in listing.entries])


async def presented_events(
    resource: Resource, stream: AsyncGenerator[WatchEvent]
) -> AsyncGenerator[WatchEvent]:
    """The events of a watch; one whose object needs no change stays the one that all share."""
    async with aclosing(stream):
        async for event in stream:
            entry = event.entry
            shown = entry and await presented(resource, entry)
            if shown is entry:
                yield event
            else:
                yield WatchEvent(event.type, shown, event.revision, initial_end=event.initial_end)


async def stored(resource: Resource, obj: Object) -> Object:
    """An object as it is written."""
    if resource.custom is not None:
        return await resource.custom.storable(obj)
    return obj if resource.form is None else resource.form.stored(obj)


def is_current(resource: Resource, entry: Entry) -> bool:
    """Whether writing the object again would write the same: its version is still the one."""
    return resource.form is None or resource.form.is_current(entry)
