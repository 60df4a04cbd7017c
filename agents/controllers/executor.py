"""Carries out the actions of a plan, in order; the first that fails ends it.

Conflicts and lost connections are raised to the reconciler's queue, which comes back to the key.
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.controllers.action import Action, Create, Delete, Emit, Update
from kubraft.api.errors import AlreadyExistsError, ApiError, NotFoundError
from kubraft.api.object import Object
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder


class Executor:
    """Writes through one client and records through one recorder."""

    def __init__(self, client: ApiClient, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder

    async def perform(self, action: Action) -> Object | None:
        """Do one action; returns the object as stored, None where there is none.

        Raises:
            ApiError: as the API server says. That what should be deleted is gone is no failure.
        """
        match action:
            case Emit(regarding, type_, reason, message):
                self._recorder.event(regarding, type_, reason, message)
                return None
            case Create(obj):
                return await self._client.create(obj)
            case Update(obj, subresource):
                return await self._client.update(obj, subresource)
            case Delete():
                await self._delete(action)
                return None

    async def perform_all(self, actions: Iterable[Action]) -> None:
        """Do the actions in their order."""
        for action in actions:
            await self.perform(action)

    async def _delete(self, action: Delete) -> None:
        try:
            await self._client.delete(
                action.gvk,
                action.key.name,
                action.key.namespace,
                grace_period_s=action.grace_period_s,
                propagation=action.propagation,
                uid=action.uid,
                resource_version=action.resource_version,
            )
        except NotFoundError:
            return


def namespace_is_ending(error: ApiError) -> bool:
    """Whether a create was refused because its Namespace is being deleted: no use in trying again.

    Source: upstream's cause type NamespaceTerminating.
    """
    return any(cause.reason == "NamespaceTerminating" for cause in error.causes)


async def create_if_absent(client: ApiClient, obj: Object) -> None:
    """Create what every Namespace has, unless it is there or its Namespace is ending.

    Raises:
        ApiError: anything else that the API server says.
    """
    try:
        await client.create(obj)
    except AlreadyExistsError:
        return
    except ApiError as error:
        if not namespace_is_ending(error):
            raise
