"""The ConfigMap from which extension servers learn whom to trust.

Several API servers may have written to it: what another has put there stays.

Source: upstream's clusterauthenticationtrust controller (name, keys, how they are combined).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from apiserver.reader import Reader, Writer
from kubraft.api.errors import ApiError
from kubraft.api.gvk import CONFIG_MAP
from kubraft.api.object import Object
from kubraft.api.time import Clock
from kubraft.log import get_logger

NAMESPACE: Final = "kube-system"
NAME: Final = "extension-apiserver-authentication"
RETRY_S: Final = 1.0
_SLACK: Final = timedelta(minutes=5)
_BUNDLES: Final = ("client-ca-file", "requestheader-client-ca-file")

_log = get_logger("apiserver.aggregation")


def combined(existing: Mapping[str, str], wanted: Mapping[str, str], now: datetime) -> Object:
    """The data of the ConfigMap: what is there and what is wanted, each once. Pure.

    Args:
        wanted: bundles of certificates in PEM, and lists of names in JSON, by key.
    """
    made: dict[str, str] = {}
    for key in sorted({*existing, *wanted}):
        texts = [values[key] for values in (existing, wanted) if values.get(key)]
        if key in _BUNDLES:
            made[key] = _bundle(texts, now)
        elif key.startswith("requestheader-"):
            made[key] = _names(texts)
    return {key: value for key, value in made.items() if value}


def _bundle(texts: Iterable[str], now: datetime) -> str:
    found: dict[bytes, str] = {}
    for text in texts:
        try:
            certificates = x509.load_pem_x509_certificates(text.encode())
        except ValueError:
            continue
        for each in certificates:
            if each.not_valid_after_utc > now - _SLACK:
                pem = each.public_bytes(Encoding.PEM)
                found.setdefault(pem, pem.decode())
    return "".join(found.values())


def _names(texts: Iterable[str]) -> str:
    found: dict[str, None] = {}
    for text in texts:
        try:
            values = orjson.loads(text)
        except ValueError:
            continue
        found.update((str(value), None) for value in (values if isinstance(values, list) else ()))
    return orjson.dumps(list(found)).decode()


class Trust:
    """Keeps the ConfigMap as it should be."""

    def __init__(
        self, reader: Reader, writer: Writer, wanted: Mapping[str, str], clock: Clock
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._wanted = wanted
        self._clock = clock
        self._changed = asyncio.Event()
        reader.add_handler(CONFIG_MAP, self._on_change)

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        metadata = (new or old or {"metadata": {}})["metadata"]
        if metadata.get("name") == NAME and metadata.get("namespace") == NAMESPACE:
            self._changed.set()

    async def run(self) -> None:
        """Work until cancelled; begin once the caches are filled."""
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._look()
            except ApiError as error:  # another was faster, or the store is away
                _log.info("trust_not_written", cause=error.message)
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    async def _look(self) -> None:
        found = self._reader.get(CONFIG_MAP, NAMESPACE, NAME)
        data = combined((found or {}).get("data") or {}, self._wanted, self._clock.now())
        if found is None:
            metadata = {"namespace": NAMESPACE, "name": NAME}
            fresh = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            await self._writer.create(fresh)
        elif data != found.get("data"):
            await self._writer.update({**found, "data": data})
