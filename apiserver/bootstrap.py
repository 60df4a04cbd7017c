"""What must exist before an API server serves: the system namespaces and the default roles."""

from __future__ import annotations

import asyncio

from apiserver.authz.bootstrap import ensure_bootstrap_policy
from apiserver.reader import Reader, Writer
from kubraft.api.errors import AlreadyExistsError, ServiceUnavailableError
from kubraft.api.gvk import NAMESPACE
from kubraft.log import get_logger

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
RETRY_S = 0.5

_log = get_logger("apiserver.bootstrap")


async def bootstrap(reader: Reader, writer: Writer) -> None:
    """Make everything exist, trying again while the store is away. Replicas may do so at once."""
    while True:
        try:
            await asyncio.gather(*(_ensure_namespace(reader, writer, n) for n in NAMESPACES))
            await ensure_bootstrap_policy(reader, writer)
        except ServiceUnavailableError as error:
            _log.warning("bootstrap_waits_for_store", error=error.message)
            await asyncio.sleep(RETRY_S)
        else:
            return


async def _ensure_namespace(reader: Reader, writer: Writer, name: str) -> None:
    if reader.get(NAMESPACE, "", name) is not None:
        return
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    try:
        await writer.create(namespace)
    except AlreadyExistsError:
        return
