"""Objects of other servers' kinds, listed and deleted on behalf of our own agents.

Agents speak gRPC with this server, and other servers speak REST: whoever empties a namespace
comes this way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import orjson

from apiserver.admission.webhook.address import NoAddressError
from apiserver.aggregation.aggregator import Aggregator
from apiserver.aggregation.backend import UnreachableError, whole
from apiserver.aggregation.identity import identity
from apiserver.aggregation.services import Remote
from apiserver.authz.attributes import Attributes, forbidden_error
from apiserver.registry.policy import Authorizer
from apiserver.user import User
from kubraft.api.errors import ApiError, ServiceUnavailableError, from_status
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

ANSWER_BYTES_MAX: Final = 64 << 20
TIMEOUT_S: Final = 60.0


class RemoteKind(NamedTuple):
    """A kind as another server has it."""

    remote: Remote
    gvk: GroupVersionKind
    plural: str
    namespaced: bool
    described: Mapping[str, Any]

    def path(self, namespace: str, name: str = "") -> str:
        """Of its objects, or of one."""
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"/{self.remote.place}{inside}/{self.plural}{f'/{name}' if name else ''}"


class RemoteObjects:
    """Asks the servers; the caller has been authenticated, and is authorized here."""

    def __init__(self, aggregator: Aggregator, authorizer: Authorizer) -> None:
        self._aggregator = aggregator
        self._authorizer = authorizer

    def kinds(self) -> Iterator[RemoteKind]:
        """What is known of all servers."""
        for remote, description in self._aggregator.described():
            for each in description.resources if description else ():
                kind = each.get("responseKind") or {}
                gvk = GroupVersionKind(
                    str(kind.get("group") or remote.group),
                    str(kind.get("version") or remote.version),
                    str(kind.get("kind") or ""),
                )
                namespaced = each.get("scope") == "Namespaced"
                yield RemoteKind(remote, gvk, str(each.get("resource") or ""), namespaced, each)

    def find(self, api_version: str, kind: str) -> RemoteKind | None:
        """The kind of that name, if another server has it."""
        if not self._aggregator.directory.remotes:
            return None
        wanted = (api_version, kind)
        found = (k for k in self.kinds() if (k.gvk.api_version, k.gvk.kind) == wanted)
        return next(found, None)

    async def list(
        self, user: User, kind: RemoteKind, namespace: str, selectors: Mapping[str, str]
    ) -> Object:
        """A list as the other server has it; `selectors` are parameters of the request.

        Raises:
            ApiError: what the other server says, or that it is away.
        """
        self._authorize(user, kind, "list", namespace)
        query = urlencode({name: value for name, value in selectors.items() if value})
        found = await self._ask(user, kind, "GET", kind.path(namespace), query=query)
        for item in found.get("items") or ():
            item.setdefault("apiVersion", kind.gvk.api_version)
            item.setdefault("kind", kind.gvk.kind)
        return found

    async def delete(
        self, user: User, kind: RemoteKind, namespace: str, name: str, options: Object
    ) -> Object:
        """Delete an object; what the other server answers. Raises as `list`."""
        self._authorize(user, kind, "delete", namespace, name)
        return await self._ask(user, kind, "DELETE", kind.path(namespace, name), body=options)

    def _authorize(
        self, user: User, kind: RemoteKind, verb: str, namespace: str, name: str = ""
    ) -> None:
        attributes = Attributes(
            user,
            verb,
            group=kind.remote.group,
            version=kind.remote.version,
            resource=kind.plural,
            namespace=namespace if kind.namespaced else "",
            name=name,
        )
        decision = self._authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden_error(attributes, decision.reason)

    async def _ask(
        self,
        user: User,
        kind: RemoteKind,
        method: str,
        path: str,
        *,
        query: str = "",
        body: Object | None = None,
    ) -> Object:
        headers = [*identity(user), ("Accept", "application/json")]
        raw = orjson.dumps(body) if body else b""
        if raw:
            headers.append(("Content-Type", "application/json"))
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._aggregator.backends.ask(
                    kind.remote, method, path, query=query, headers=headers, body=raw or None
                ) as found,
            ):
                status, answer = found.status, await whole(found, ANSWER_BYTES_MAX)
        except (NoAddressError, UnreachableError, TimeoutError) as error:
            why = str(error) or "timed out"
            raise ServiceUnavailableError(f"error trying to reach service: {why}") from error
        return _read(status, answer)


def _read(status: int, raw: bytes) -> Object:
    """The object of an answer; raises what a failure's Status says."""
    try:
        found = orjson.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        text = f"the server answered {status} and no object"
        raise ServiceUnavailableError(text) if status >= 500 else ApiError(text)
    if status >= 400:
        raise from_status(found)
    return found
