"""Carries out the steps of a churn against the API, each until it is acknowledged."""

from __future__ import annotations

import asyncio
import time

from kubraft.api.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    InternalError,
    NotFoundError,
    ServiceUnavailableError,
    TimeoutError_,
    TooManyRequestsError,
)
from kubraft.api.object import is_terminating
from kubraft.client.client import ApiClient
from scripts.chaos.churn import Step
from scripts.chaos.manifests import KINDS, NAMESPACE, changes, manifest

_RETRY_S = 0.2
_PASSES = (
    ConflictError,
    InternalError,
    ServiceUnavailableError,
    TimeoutError_,
    TooManyRequestsError,
)


class Declarer:
    """One user, who does one thing after another and takes no "unavailable" for an answer."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.done: list[Step] = []
        self.tries_failed = 0

    async def run(self, steps: list[Step], began_s: float) -> None:
        """All steps, each at its time or as soon after it as it can be done.

        Raises:
            ApiError: the API refuses a step, which it never should.
        """
        for step in steps:
            await asyncio.sleep(max(0.0, began_s + step.at_s - time.monotonic()))
            await self.do(step)

    async def do(self, step: Step) -> None:
        """One step, until it is acknowledged."""
        while True:
            try:
                await (self._delete(step) if step.delete else self._apply(step))
            except _PASSES:
                self.tries_failed += 1
                await asyncio.sleep(_RETRY_S)
            else:
                self.done.append(step)
                return

    async def _apply(self, step: Step) -> None:
        wanted = step.wanted
        try:
            await self._client.create(manifest(wanted))
        except AlreadyExistsError:
            if wanted.kind != "Job":
                await self._client.patch(
                    KINDS[wanted.kind], wanted.name, changes(wanted), NAMESPACE
                )

    async def _delete(self, step: Step) -> None:
        kind = KINDS[step.wanted.kind]
        try:
            found = await self._client.get(kind, step.wanted.name, NAMESPACE)
            if not is_terminating(found):
                await self._client.delete(
                    kind, step.wanted.name, NAMESPACE, propagation="Background"
                )
        except NotFoundError:
            return


def is_away(error: ApiError) -> bool:
    """Whether it says that nobody could answer just now."""
    return isinstance(error, _PASSES)
