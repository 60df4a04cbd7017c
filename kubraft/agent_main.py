"""How an agent process starts and stops: flags, logging, the API client, signals, exit status.

SIGTERM and SIGINT cancel the agent's work, which ends cleanly; status 0. An error that ends it is
one line in the log; status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from kubraft.api.duration import parse_duration
from kubraft.api.errors import ApiError
from kubraft.api.time import Clock, SystemClock
from kubraft.client.client import ApiClient
from kubraft.client.leader_election import LeaderElector, LeadershipLostError
from kubraft.log import LEVELS, configure, get_logger


@dataclass(slots=True)
class Agent:
    """What an agent's main function is given. The client is closed for it.

    `is_ready` is what `ready` has said.
    """

    name: str
    arguments: argparse.Namespace
    client: ApiClient
    clock: Clock
    rng: Random
    log: Any  # a structlog logger
    is_ready: bool = False

    @property
    def identity(self) -> str:
        """Names this process among its replicas."""
        identity: str = self.arguments.identity
        return identity

    def ready(self, **fields: Any) -> None:
        """Log that this process does its work; the supervisor waits for this line."""
        self.is_ready = True
        self.log.info("ready", identity=self.identity, **fields)

    def elector(self, lease_name: str) -> LeaderElector:
        """A candidate for that Lease, with the durations of the flags."""
        given = self.arguments
        return LeaderElector(
            self.client,
            name=lease_name,
            namespace=given.leader_elect_resource_namespace,
            identity=self.identity,
            lease_duration_s=given.leader_elect_lease_duration,
            renew_deadline_s=given.leader_elect_renew_deadline,
            retry_period_s=given.leader_elect_retry_period,
            clock=self.clock,
            rng=self.rng,
        )


# Failures that say all there is to say in one line.
_EXPECTED = (ApiError, LeadershipLostError, OSError, ValueError)

Main = Callable[[Agent], Awaitable[None]]


def agent_parser(name: str, description: str) -> argparse.ArgumentParser:
    """The flags that every agent has; add the agent's own to it."""
    parser = argparse.ArgumentParser(prog=f"python -m agents.{name}", description=description)
    parser.add_argument("--server", required=True, help="host:port of the API server's gRPC port")
    parser.add_argument("--ca-file", help="CA to check the server with; without it no TLS")
    parser.add_argument("--cert-file", help="client certificate that says who this agent is")
    parser.add_argument("--key-file", help="private key of the client certificate")
    parser.add_argument("--identity", default=name, help="name of this process among its replicas")
    parser.add_argument("--log-level", default="info", choices=list(LEVELS))
    return parser


def add_leader_election_flags(
    parser: argparse.ArgumentParser,
    *,
    lease_duration_s: float = 15.0,
    renew_deadline_s: float = 10.0,
    retry_period_s: float = 2.0,
) -> None:
    """The flags of an agent of which one replica acts; durations like "15s" or "1500ms"."""
    group = parser.add_argument_group("leader election")
    group.add_argument("--leader-elect-lease-duration", type=duration_s, default=lease_duration_s)
    group.add_argument("--leader-elect-renew-deadline", type=duration_s, default=renew_deadline_s)
    group.add_argument("--leader-elect-retry-period", type=duration_s, default=retry_period_s)
    group.add_argument("--leader-elect-resource-namespace", default="kube-system")


def duration_s(text: str) -> float:
    """Read a duration flag: "40s", "1m30s"; a bare number is seconds.

    Raises:
        ValueError: it is none of these, or negative.
    """
    bare = text.replace(".", "", 1)
    try:
        return float(text) if bare.isascii() and bare.isdigit() else parse_duration(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a duration") from None


def run_agent(
    name: str, main: Main, parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> int:
    """Run `main` in an event loop of its own until it ends or a signal comes.

    Returns:
        The exit status of the process.
    """
    arguments = parser.parse_args(argv)
    configure(arguments.log_level)
    log = get_logger(name)
    import uvloop  # noqa: PLC0415 - only processes need it

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(name, main, arguments, log))
    except Exception as error:
        cause = first_cause(error)
        if not isinstance(cause, _EXPECTED):
            log.exception("failed")
        else:
            log.error("failed", cause=str(cause))  # noqa: TRY400 - a person's line, no traceback
        return 1
    return 0


def first_cause(error: BaseException) -> BaseException:
    """What failed first, where task groups have wrapped it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def exit_agent(status: int) -> None:
    """End the process at once: the interpreter's own tidying takes longer than all of our stop."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def _run(name: str, main: Main, arguments: argparse.Namespace, log: Any) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    client = ApiClient(
        arguments.server,
        ca_file=arguments.ca_file,
        cert_file=arguments.cert_file,
        key_file=arguments.key_file,
        field_manager=name,
    )
    agent = Agent(name, arguments, client, SystemClock(), Random(), log)  # noqa: S311
    try:
        await until_stopped(main(agent), stop)
    finally:
        await client.close()
    log.info("stopped")


async def until_stopped(work: Awaitable[None], stop: asyncio.Event) -> None:
    """Await `work`; once `stop` is set cancel it and return when it has ended."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
    if not working.cancelled():
        working.result()
