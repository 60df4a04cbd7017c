"""What must exist before an API server serves: namespaces, priority classes, default roles."""

from __future__ import annotations

import asyncio
import contextlib

from apiserver.authz.bootstrap import ensure_bootstrap_policy
from apiserver.reader import Reader, Writer
from apiserver.registry.kinds.policy import system_priority_classes
from kubraft.api.errors import AlreadyExistsError, ServiceUnavailableError
from kubraft.api.gvk import NAMESPACE, PRIORITY_CLASS
from kubraft.api.object import Object
from kubraft.log import get_logger

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
RETRY_S = 0.5

_log = get_logger("apiserver.bootstrap")


async def bootstrap(reader: Reader, writer: Writer) -> None:
    """Make everything exist, trying again while the store is away. Replicas may do so at once."""
    while True:
        try:
            await asyncio.gather(*(_ensure_namespace(reader, writer, n) for n in NAMESPACES))
            classes = system_priority_classes()
            await asyncio.gather(*(_ensure_class(reader, writer, each) for each in classes))
            await ensure_bootstrap_policy(reader, writer)
        except ServiceUnavailableError as error:
            _log.warning("bootstrap_waits_for_store", error=error.message)
            await asyncio.sleep(RETRY_S)
        else:
            return


async def _ensure_class(reader: Reader, writer: Writer, priority_class: Object) -> None:
    if reader.get(PRIORITY_CLASS, "", priority_class["metadata"]["name"]) is not None:
        return
    with contextlib.suppress(AlreadyExistsError):
        await writer.create(priority_class)


async def _ensure_namespace(reader: Reader, writer: Writer, name: str) -> None:
    if reader.get(NAMESPACE, "", name) is not None:
        return
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    try:
        await writer.create(namespace)
    except AlreadyExistsError:
        return
