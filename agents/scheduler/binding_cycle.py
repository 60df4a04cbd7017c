"""The second half of a decision, beside the next ones: permit, pre-bind, bind, post-bind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents.scheduler.binder import Binder, Outcome
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.profile import Profile
from agents.scheduler.reporter import SCHEDULER_ERROR, UNSCHEDULABLE, Reporter
from kubraft.api.errors import ApiError
from kubraft.client.leader_election import LeadershipLostError
from kubraft.log import get_logger

# Bindings sent to the API server at once: enough to keep it busy, and to share its fsyncs.
SENT_MAX = 64

# Frees what a Pod took; False where it is no longer on its way.
TakeBack = Callable[[Profile, PodInfo, str], bool]


class _RefusedError(Exception):
    """A plugin does not let the Pod be bound."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class BindingCycle:
    """Takes Pods that were assumed on a node there, any number at once."""

    def __init__(self, binder: Binder, reporter: Reporter, take_back: TakeBack) -> None:
        self._binder = binder
        self._reporter = reporter
        self._take_back = take_back
        self._sending = asyncio.Semaphore(SENT_MAX)
        self._log = get_logger("scheduler")

    async def carry_out(self, profile: Profile, pod: PodInfo, node_name: str) -> bool:
        """Bind the Pod, or take it back and have it tried again; says on it what became of it.

        Returns:
            Whether it is bound.

        Raises:
            LeadershipLostError: another process may have taken over.
        """
        try:
            await self._prepare(profile, pod, node_name)
            failure = await self._send(profile, pod, node_name)
        except LeadershipLostError:
            raise
        except _RefusedError as refused:
            self._take_back(profile, pod, node_name)
            self._reporter.failed(pod, refused.reason, refused.message)
            return False
        except Exception as error:  # noqa: BLE001 - one Pod must not stop the others
            self._log.exception("binding_failed", pod=str(pod.key), node=node_name)
            self._take_back(profile, pod, node_name)
            self._reporter.failed(pod, SCHEDULER_ERROR, f"{type(error).__name__}: {error}")
            return False
        if failure is None:
            self._reporter.scheduled(pod, node_name)
            for plugin in profile.post_binds:
                plugin.post_bind(pod, node_name)
            return True
        if self._take_back(profile, pod, node_name):
            self._log.info("not_bound", pod=str(pod.key), node=node_name, cause=failure)
            self._reporter.failed(pod, SCHEDULER_ERROR, f"binding rejected: {failure}")
        return False

    async def _prepare(self, profile: Profile, pod: PodInfo, node_name: str) -> None:
        for plugin in profile.permits:
            if refused := await plugin.permit(pod, node_name):
                raise _RefusedError(UNSCHEDULABLE, refused)
        for plugin in profile.pre_binds:
            try:
                refused = await plugin.pre_bind(pod, node_name)
            except LeadershipLostError:
                raise
            except ApiError as error:
                refused = error.message
            if refused:
                message = f'running PreBind plugin "{plugin.name}": {refused}'
                raise _RefusedError(SCHEDULER_ERROR, message)

    async def _send(self, profile: Profile, pod: PodInfo, node_name: str) -> str | None:
        """Bind; the answer is why that failed, or None."""
        async with self._sending:
            for plugin in profile.binds:
                try:
                    if await plugin.bind(pod, node_name):
                        return None
                except LeadershipLostError:
                    raise
                except ApiError as error:
                    return error.message
            outcome, message = await self._binder.bind(pod, node_name)
            return None if outcome is Outcome.BOUND else message
