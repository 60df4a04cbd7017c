"""Whether other servers are there, and the conditions that say so.

Every API server looks for itself: what is Available is what it has reached. What a check finds out
is written only where it is news.

Source: kube-aggregator's remote availability controller (order, reasons, messages, times).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from apiserver.admission.webhook.address import SERVICE_LABEL, NoAddressError
from apiserver.aggregation.backend import Backends, UnreachableError
from apiserver.aggregation.directory import Directory
from apiserver.aggregation.identity import AGGREGATOR, identity
from apiserver.aggregation.services import Remote
from apiserver.reader import Reader, Writer
from apiserver.registry.kinds.apiregistration import API_SERVICE
from apiserver.registry.kinds.networking import ENDPOINT_SLICE
from kubraft.api.conditions import conditions_of, find_condition, with_condition
from kubraft.api.errors import ApiError
from kubraft.api.gvk import POD, SERVICE
from kubraft.api.object import Object, labels_of
from kubraft.api.time import Clock
from kubraft.log import get_logger

CHECK_PERIOD_S: Final = 30.0
CHECK_TIMEOUT_S: Final = 5.0
RETRY_S_MIN: Final = 0.25
ATTEMPTS: Final = 2
CHECKS_AT_ONCE: Final = 8


_log = get_logger("apiserver.aggregation")


class Verdict(NamedTuple):
    """What the condition Available says."""

    status: str
    reason: str
    message: str


PASSED: Final = Verdict("True", "Passed", "all checks passed")


def of_service(
    remote: Remote, service: Object | None, slices: Iterable[Object], *, has_pods: bool
) -> Verdict | None:
    """What is wrong with the Service of a remote; None where nothing is. Pure.

    `has_pods`: a ready Pod stands behind it, whatever its EndpointSlices say.
    """
    named, where = f"service/{remote.service}", f'"{remote.namespace}"'
    if service is None:
        return Verdict("False", "ServiceNotFound", f"{named} in {where} is not present")
    spec: Mapping[str, Any] = service.get("spec") or {}
    if spec.get("type", "ClusterIP") != "ClusterIP":
        return None
    port = next((p for p in spec.get("ports") or () if p.get("port") == remote.port), None)
    if port is None:
        text = f"{named} in {where} is not listening on port {remote.port}"
        return Verdict("False", "ServicePortError", text)
    found = list(slices)
    if has_pods or any(_has_address(each, port.get("name", "")) for each in found):
        return None
    if not found:
        text = f"cannot find endpointslices for {named} in {where}"
        return Verdict("False", "EndpointsNotFound", text)
    missing = f'have no addresses with port name "{port.get("name", "")}"'
    text = f"endpointslices for {named} in {where} {missing}"
    return Verdict("False", "MissingEndpoints", text)


def _has_address(slice_: Object, port: str) -> bool:
    if not any((p.get("name") or "") == port for p in slice_.get("ports") or ()):
        return False
    return any(
        endpoint.get("addresses") and (endpoint.get("conditions") or {}).get("ready") is not False
        for endpoint in slice_.get("endpoints") or ()
    )


def with_verdict(api_service: Object, verdict: Verdict, now: datetime) -> Object | None:
    """An APIService that says so; None where it does already. Pure."""
    before = conditions_of(api_service)
    old = find_condition(before, "Available") or {}
    if verdict == (old.get("status"), old.get("reason"), old.get("message")):
        return None
    fresh = with_condition(before, {"type": "Available", **verdict._asdict()}, now)
    return {**api_service, "status": {**(api_service.get("status") or {}), "conditions": fresh}}


class Availability:
    """Checks each remote when something of it changes, and again from time to time."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        directory: Directory,
        backends: Backends,
        *,
        clock: Clock,
        on_passed: Callable[[Remote], Awaitable[None]],
    ) -> None:
        """`on_passed` is called after each check that a remote has passed."""
        self._reader = reader
        self._writer = writer
        self._directory = directory
        self._backends = backends
        self._clock = clock
        self._on_passed = on_passed
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._gate = asyncio.Semaphore(CHECKS_AT_ONCE)
        directory.listen(self._on_remote)
        for kind in (SERVICE, ENDPOINT_SLICE, POD):
            reader.add_handler(kind, self._on_neighbour)

    def _on_remote(self, old: Remote | None, new: Remote | None) -> None:
        if new is None:
            assert old is not None
            self._due.pop(old.name, None)
            self._failures.pop(old.name, None)
        elif old is None or new != _renewed(old, new):
            self._soon(new.name)

    def _on_neighbour(self, old: Object | None, new: Object | None) -> None:
        """A Service, or what stands behind one, has changed."""
        if not self._directory.remotes:
            return
        metadata = (new or old or {"metadata": {}})["metadata"]
        for remote in self._directory.remotes.values():
            if remote.namespace == metadata.get("namespace"):
                self._soon(remote.name)

    def _soon(self, name: str) -> None:
        self._due[name] = 0.0
        self._failures.pop(name, None)
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wait()
            now = self._clock.monotonic_s()
            remotes = [
                remote
                for remote in self._directory.remotes.values()
                if self._due.get(remote.name, 0.0) <= now
            ]
            for remote in remotes:
                self._due[remote.name] = now + CHECK_PERIOD_S
            await asyncio.gather(*map(self._guarded, remotes))

    async def _wait(self) -> None:
        due = [self._due.get(remote.name, 0.0) for remote in self._directory.remotes.values()]
        left = min(due) - self._clock.monotonic_s() if due else None
        if left is None or left > 0:
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                pass
        self._changed.clear()

    async def _guarded(self, remote: Remote) -> None:
        """What another server says must not end this one."""
        try:
            await self._see_to(remote)
        except Exception:  # noqa: BLE001 - whatever it is, the next look may find it gone
            _log.exception("check_failed", api_service=remote.name)

    async def _see_to(self, remote: Remote) -> None:
        async with self._gate:
            verdict = await self._check(remote)
            if verdict != PASSED:
                failures = self._failures[remote.name] = self._failures.get(remote.name, 0) + 1
                delay = min(RETRY_S_MIN * 2.0 ** min(failures, 10), CHECK_PERIOD_S)
                self._due[remote.name] = self._clock.monotonic_s() + delay
            else:
                self._failures.pop(remote.name, None)
                await self._on_passed(remote)
            found = self._reader.get(API_SERVICE, "", remote.name)
            told = with_verdict(found, verdict, self._clock.now()) if found else None
            if told is None:
                return
            try:
                await self._writer.update(told, "status")
            except ApiError:  # changed or deleted meanwhile, or the store is away: look again
                self._due[remote.name] = self._clock.monotonic_s() + RETRY_S_MIN

    async def _check(self, remote: Remote) -> Verdict:
        service = self._reader.get(SERVICE, remote.namespace, remote.service)
        slices = [
            each
            for each in self._reader.list(ENDPOINT_SLICE, remote.namespace)
            if labels_of(each).get(SERVICE_LABEL) == remote.service
        ]
        selects = bool(((service or {}).get("spec") or {}).get("selector"))
        has_pods = selects and self._resolves(remote)
        problem = of_service(remote, service, slices, has_pods=has_pods)
        if problem is not None:
            return problem
        cause = ""
        for _ in range(ATTEMPTS):
            cause = await self._ask(remote)
            if not cause:
                return PASSED
        return Verdict("False", "FailedDiscoveryCheck", cause)

    def _resolves(self, remote: Remote) -> bool:
        try:
            self._backends.address(remote)
        except NoAddressError:
            return False
        return True

    async def _ask(self, remote: Remote) -> str:
        """Ask for what every server has; what went wrong, or nothing."""
        path = f"/{remote.place}"
        try:
            url = self._backends.address(remote).url + path
        except NoAddressError as error:
            return str(error)
        failing = f"failing or missing response from {url}"
        asking = self._backends.ask(remote, "GET", path, headers=identity(AGGREGATOR))
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S), asking as found:
                if 200 <= found.status < 300:
                    return ""
                return f"{failing}: bad status from {url}: {found.status}"
        except TimeoutError:
            return f'{failing}: Get "{url}": context deadline exceeded'
        except (NoAddressError, UnreachableError) as error:
            return f'{failing}: Get "{url}": {error}'


def _renewed(old: Remote, new: Remote) -> Remote:
    """The old one with what a check itself changes."""
    return replace(old, available=new.available)
