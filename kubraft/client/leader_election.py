"""Leader election by Lease object: of several replicas of an agent, one acts.

Each candidate reads the Lease, and may take it once it has seen no change of it for the whole
lease duration, by its own monotonic clock: clocks of different machines are never compared. The
lease holder renews it, and stops acting `renew_deadline_s` after the start of its last successful
renewal. That is earlier than anybody else can take the Lease, because renewing writes it and a
candidate counts `lease_duration_s` from when it saw that write:

    holder      renew sent |------ renew_deadline_s ------| stopped
    candidate      seen        |---------- lease_duration_s ----------| may take it

Source: Kubernetes documentation, "Leases"; client-go's leader election (the fields of the Lease).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any, Final, Protocol

from kubraft.api.errors import ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import LEASE, GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.time import Clock, SystemClock, format_micro_time, within
from kubraft.figures import Gauge
from kubraft.log import get_logger

_JITTER = 1.2  # of the retry period, at most
_RELEASE_TIMEOUT_S = 2.0

MASTER_STATUS: Final = Gauge(
    "leader_election_master_status", "Whether this process holds the Lease: 1 or 0.", ("name",)
)


class LeadershipLostError(Exception):
    """The Lease could not be renewed in time, or somebody else has it: stop acting."""


class LeaseClient(Protocol):
    """The calls that an election needs; ApiClient has them."""

    async def get(self, gvk: GroupVersionKind, name: str, namespace: str = "") -> Object: ...

    async def create(self, obj: Object) -> Object: ...

    async def update(self, obj: Object) -> Object: ...


class LeaderElector:
    """One candidate for one Lease."""

    def __init__(
        self,
        client: LeaseClient,
        *,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        lease_duration_s: float = 15.0,
        renew_deadline_s: float = 10.0,
        retry_period_s: float = 2.0,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        """`identity` must be unique among the candidates.

        Raises:
            ValueError: the durations do not leave room for each other, or identity is empty.
        """
        if not lease_duration_s > renew_deadline_s > retry_period_s * _JITTER > 0:
            raise ValueError(
                f"lease duration ({lease_duration_s} s) must be greater than renew deadline "
                f"({renew_deadline_s} s), and that greater than {_JITTER} times the retry period "
                f"({retry_period_s} s)"
            )
        if not identity:
            raise ValueError("the identity of a candidate must not be empty")
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._lease_duration_s = lease_duration_s
        self._renew_deadline_s = renew_deadline_s
        self._retry_period_s = retry_period_s
        self._clock = clock or SystemClock()
        self._rng = rng or Random()  # noqa: S311 - no secret
        self._seen: Object | None = None
        self._seen_s = 0.0
        self._leading_until_s: float | None = None
        self._log = get_logger("leader_election", lease=f"{namespace}/{name}", identity=identity)

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last read; empty where nobody did."""
        return _holder(self._seen)

    def is_leading(self) -> bool:
        """Whether this candidate may act at this moment."""
        return (
            self._leading_until_s is not None and self._clock.monotonic_s() < self._leading_until_s
        )

    def fence(self) -> float:
        """Seconds for which this candidate may certainly act; for `ApiClient.fenced`.

        Raises:
            LeadershipLostError: it may not.
        """
        if self._leading_until_s is not None:
            left_s = self._leading_until_s - self._clock.monotonic_s()
            if left_s > 0:
                return left_s
        raise LeadershipLostError(
            f"{self._identity} does not hold the lease {self._namespace}/{self._name}"
        )

    async def run(self, on_started: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then run `on_started` for as long as it is held.

        When cancelled, the work is cancelled first and the Lease given back then, so that another
        candidate takes over at once.

        Raises:
            LeadershipLostError: the Lease was lost; the work has been cancelled and has ended.
        """
        MASTER_STATUS.set(0, self._name)
        while not await self._attempt(self._renew_deadline_s):
            await self._clock.sleep(self._pause_s())
        self._log.info("leading")
        MASTER_STATUS.set(1, self._name)
        try:
            await self._lead(on_started)
        finally:
            held = self.is_leading()
            self._leading_until_s = None
            MASTER_STATUS.set(0, self._name)
            if held:
                await self._release()

    async def _lead(self, on_started: Callable[[], Awaitable[None]]) -> None:
        work = asyncio.ensure_future(_as_coroutine(on_started))
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait({work, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, renewing):
                task.cancel()
            await asyncio.gather(work, renewing, return_exceptions=True)
        if not work.cancelled():
            work.result()
        if not renewing.cancelled():
            renewing.result()

    async def _renew(self) -> None:
        """Renew in time; raises LeadershipLostError where that failed."""
        while True:
            await self._clock.sleep(min(self._pause_s(), self._left_s()))
            left_s = self._left_s()
            if left_s <= 0 or (not await self._attempt(left_s) and self._taken()):
                self._log.warning("lost", holder=self.holder)
                self._leading_until_s = None
                raise LeadershipLostError(
                    f"{self._identity} lost the lease {self._namespace}/{self._name}"
                )

    def _left_s(self) -> float:
        assert self._leading_until_s is not None
        return self._leading_until_s - self._clock.monotonic_s()

    def _taken(self) -> bool:
        return self._seen is not None and self.holder != self._identity

    def _pause_s(self) -> float:
        return self._retry_period_s * (1 + (_JITTER - 1) * self._rng.random())

    async def _attempt(self, timeout_s: float) -> bool:
        """Try to take or renew the Lease; True where this candidate has it now."""
        began_s = self._clock.monotonic_s()
        try:
            taken = await within(self._clock, timeout_s, self._take_or_renew())
        except (ApiError, TimeoutError) as error:
            self._log.debug("attempt_failed", cause=str(error) or "no answer in time")
            return False
        if taken:
            self._leading_until_s = began_s + self._renew_deadline_s
        return taken

    async def _take_or_renew(self) -> bool:
        if self._seen and self.is_leading():
            # The usual case: nobody else has written it, so that reading it first is not needed.
            with suppress(ConflictError, NotFoundError):
                self._observe(await self._client.update(self._lease_object(self._seen)))
                return True
        try:
            lease = await self._client.get(LEASE, self._name, self._namespace)
        except NotFoundError:
            fresh = self._lease_object(None)
            self._observe(await self._client.create(fresh))
            return True
        self._observe(lease)
        if not self._may_take(lease):
            return False
        self._observe(await self._client.update(self._lease_object(lease)))
        return True

    def _may_take(self, lease: Object) -> bool:
        holder = _holder(lease)
        if holder in ("", self._identity):
            return True
        spec = lease.get("spec") or {}
        # The holder counts on the duration that it wrote, whatever this candidate's is.
        duration_s = max(float(spec.get("leaseDurationSeconds") or 0), self._lease_duration_s)
        return self._clock.monotonic_s() - self._seen_s >= duration_s

    def _observe(self, lease: Object) -> None:
        if self._seen is None or self._seen.get("spec") != lease.get("spec"):
            if self.holder != _holder(lease):
                self._log.info("holder", holder=_holder(lease))
            self._seen_s = self._clock.monotonic_s()
        self._seen = lease

    def _lease_object(self, old: Object | None) -> Object:
        """The Lease as it stands once this candidate has it."""
        now = format_micro_time(self._clock.now())
        spec: dict[str, Any] = dict((old or {}).get("spec") or {})
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = spec.get("leaseTransitions", -1 if old is None else 0) + 1
        spec["holderIdentity"] = self._identity
        spec["leaseDurationSeconds"] = max(1, round(self._lease_duration_s))
        spec["renewTime"] = now
        metadata = {"namespace": self._namespace, "name": self._name}
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": old["metadata"] if old else metadata,
            "spec": spec,
        }

    async def _release(self) -> None:
        """Give the Lease back, if that is quickly done."""
        if self._seen is None:
            return
        spec = {
            **(self._seen.get("spec") or {}),
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": format_micro_time(self._clock.now()),
        }
        try:
            given = self._client.update({**self._seen, "spec": spec})
            await within(self._clock, _RELEASE_TIMEOUT_S, given)
        except (ApiError, TimeoutError) as error:
            self._log.info("not_released", cause=str(error) or "no answer in time")
        else:
            self._log.info("released")


def _holder(lease: Object | None) -> str:
    holder: str = ((lease or {}).get("spec") or {}).get("holderIdentity") or ""
    return holder


async def _as_coroutine(start: Callable[[], Awaitable[None]]) -> None:
    await start()
