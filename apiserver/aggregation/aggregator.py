"""Aggregation as a whole: what an API server holds of it, and the tasks behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

import orjson

from apiserver.aggregation.availability import Availability
from apiserver.aggregation.backend import Backends
from apiserver.aggregation.directory import Directory
from apiserver.aggregation.options import AggregationOptions
from apiserver.aggregation.proxy import Proxy
from apiserver.aggregation.registration import Registration
from apiserver.aggregation.remote_documents import Description, RemoteDocuments
from apiserver.aggregation.services import Remote
from apiserver.aggregation.trust import Trust
from apiserver.reader import Reader, Writer
from apiserver.registry.resource import Resource
from apiserver.registry.resources import Resources
from kubraft.api.time import Clock


class Described(NamedTuple):
    """A version that another server has, and what is known of it."""

    remote: Remote
    description: Description | None


class Aggregator:
    """One for the process; `run` is its background, `close` its end."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        resources: Resources,
        others: Iterable[Resource],
        *,
        options: AggregationOptions,
        client_ca: str,
        clock: Clock,
        rng: Random,
    ) -> None:
        """`others` are rows beside the table; `client_ca` is whose certificates name users, PEM.

        Raises:
            OSError: the authority of front proxies cannot be read.
        """
        self.directory = Directory(reader)
        self.backends = Backends(reader, rng, options)
        self.proxy = Proxy(self.backends)
        self._documents = RemoteDocuments(self.backends)
        self.directory.listen(self._on_remote)
        registration = Registration(reader, writer, resources, others)
        trust = Trust(reader, writer, _trusted(options, client_ca), clock)
        availability = Availability(
            reader,
            writer,
            self.directory,
            self.backends,
            clock=clock,
            on_passed=self._documents.refresh,
        )
        self._parts = (registration, trust, availability)

    @property
    def generation(self) -> int:
        """Counts changes of what clients discover."""
        return self.directory.generation + self._documents.generation

    def described(self) -> list[Described]:
        """All versions that other servers have."""
        return [
            Described(remote, self._documents.find(remote))
            for remote in self.directory.remotes.values()
        ]

    async def run(self) -> None:
        """Work until cancelled; begin once the caches are filled."""
        async with asyncio.TaskGroup() as group:
            for part in self._parts:
                group.create_task(part.run(), name=type(part).__name__)

    async def close(self) -> None:
        """End all connections."""
        await self.backends.close()

    def _on_remote(self, old: Remote | None, new: Remote | None) -> None:
        if new is None and old is not None:
            self._documents.forget(old.group_version)


def _trusted(options: AggregationOptions, client_ca: str) -> dict[str, str]:
    """What extension servers are told, by key."""
    made = {"client-ca-file": client_ca}
    if options.ca_file is None:
        return made
    lists = {
        "username-headers": options.username_headers,
        "uid-headers": options.uid_headers,
        "group-headers": options.group_headers,
        "extra-headers-prefix": options.extra_prefixes,
        "allowed-names": options.allowed_names,
    }
    made |= {f"requestheader-{key}": orjson.dumps(value).decode() for key, value in lists.items()}
    made["requestheader-client-ca-file"] = options.ca_file.read_text(encoding="ascii")
    return made
