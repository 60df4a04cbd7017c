"""One member of the store: its parts, put together, started and stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Any

import lmdb

from kubraft.log import get_logger
from kubraft.pb.etcdserverpb.rpc_pb2 import Member as MemberMessage
from store import parts
from store.alarm_log import keep_alarm_log
from store.config import MemberConfig
from store.corruption_check import CorruptionCheck, CorruptMemberError
from store.directory import lock_directory
from store.flag_error import FlagError
from store.housekeeping import Housekeeping
from store.joining import JoinError, join
from store.leader_log import keep_leader_log
from store.listeners import Listeners
from store.member_error import MemberError, cause_of
from store.mvcc import command
from store.mvcc.command import Kind
from store.mvcc.lease_expiry import LeaseExpiry
from store.mvcc.machine import KvMachine
from store.probes import Probes
from store.raft.engine import EngineError
from store.raft.member_engine import RaftEngine
from store.raft.wal import WalError
from store.rpc.server import StoreServer
from store.state_machine import StoreStateMachine
from store.tls import MemberTls, member_tls

log = get_logger("store.member")

# Virtual memory set aside for the database; it may outgrow its quota by what was under way.
_MAP_BYTES_EXTRA = 2 << 30
# The same where there is no quota; it costs addresses and nothing else.
_MAP_BYTES_UNBOUNDED = 1 << 40
_PUBLISH_RETRY_S = 0.2
# What etcd keeps in its data directory, and we do not. Source: etcd, server/datadir.
_OF_ETCD = ("member", "proxy")


class Member:
    """A running member. `start`, then `wait`, at last `stop`."""

    def __init__(self, config: MemberConfig) -> None:
        self._config = config
        self._lock: IO[bytes] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[MemberError]
        self._machine: KvMachine | None = None
        self._engine: RaftEngine | None = None
        self._housekeeping: Housekeeping | None = None
        self._listeners: Listeners | None = None

    async def start(self) -> None:
        """Open the data directory, bind the ports, join the cluster and begin to serve.

        Raises:
            MemberError: the member cannot start.
        """
        self._failed = asyncio.get_running_loop().create_future()
        if self._config.without_effect:
            log.warning("flags without effect", flags=",".join(self._config.without_effect))
        for url, cause in self._config.plain_text:
            log.warning("no TLS", url=url, cause=cause)
        self._lock = _lock(self._config.data_dir)
        tls = member_tls(self._config)
        config = self._config = await _join(self._config, tls)
        machine = self._machine = _open_machine(config)
        expiry = LeaseExpiry()
        state_machine = StoreStateMachine(machine, expiry)
        engine = self._engine = RaftEngine(
            parts.raft_config(config, tls.peer),
            state_machine,
            published=lambda member: member in machine.members,
        )
        corruption = CorruptionCheck(engine, machine, member_id=config.member_id, ask=engine.ask)
        engine.respond = corruption.answer
        if config.comparison.at_start:
            engine.check = corruption.check_start
        services = parts.services(config, engine, machine, expiry)
        machine.on_events = lambda events: services.hub.notify(events, machine.store.revision)
        machine.on_replaced = services.hub.desync_all
        probes = Probes(services, self._get_housekeeping)
        apart = bool(config.listen_client_http_urls)
        server = StoreServer(services, probes, config.front, http_apart=apart)
        listeners = self._listeners = Listeners(config, tls, server, probes)
        listeners.bind()
        await _start(engine, config)
        self._housekeeping = parts.housekeeping(config, engine, machine, expiry, state_machine)
        await listeners.serve()
        self._own(self._housekeeping.run())
        self._own(self._publish(engine, machine, listeners))
        self._own(self._watch_engine(engine))
        if config.comparison.interval_s:
            self._own(corruption.run(config.comparison.interval_s))
        if config.comparison.after_compactions_s:
            self._own(corruption.run_after_compactions(config.comparison.after_compactions_s))
        self._own(keep_alarm_log(services))
        self._own(keep_leader_log(services, election_s=config.election_ms / 1000))

    def _get_housekeeping(self) -> Housekeeping:
        assert self._housekeeping is not None, "nobody is served before it is there"
        return self._housekeeping

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._note_end)
        self._tasks.append(task)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None and not self._failed.done():
            where = f"--data-dir {self._config.data_dir}"
            self._failed.set_result(MemberError(f"{where}: {cause_of(error)}"))

    async def wait(self) -> MemberError:
        """Wait until the member cannot go on, and say why."""
        return await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """Stop serving, hand everything to the disk, and leave; also after a failed start."""
        if self._listeners is not None:
            await self._listeners.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._engine is not None and self._housekeeping is not None:
            try:
                await self._engine.stop()
            except (OSError, lmdb.Error) as error:
                # What is not flushed is in the log and comes back at the next start.
                log.warning("stopped without a last flush", cause=cause_of(error))
        if self._housekeeping is not None:
            self._housekeeping.close()
        if self._machine is not None:
            self._machine.close()
        if self._lock is not None:
            self._lock.close()

    # Tasks.

    async def _publish(self, engine: RaftEngine, machine: KvMachine, listeners: Listeners) -> None:
        """Once there is a quorum, tell the cluster our name and URLs, then say that we are ready.

        Source: etcd, server/etcdserver (publish).
        """
        config = self._config
        message = MemberMessage(
            ID=config.member_id, name=config.name, clientURLs=config.advertise_client_urls
        )
        data = command.encode(Kind.PUBLISH, message.SerializeToString(deterministic=True))
        while True:
            try:
                await engine.read_index()
                if machine.members.get(config.member_id) != message:
                    await engine.propose(data)
                break
            except EngineError as error:
                log.debug("waiting for a quorum", cause=str(error))
                await asyncio.sleep(_PUBLISH_RETRY_S)
        await listeners.announce()
        log.info(
            "ready",
            detail="ready to serve client requests",
            member=config.name,
            member_id=f"{config.member_id:x}",
            cluster_id=f"{config.cluster_id:x}",
            client_urls=",".join(config.advertise_client_urls),
        )

    async def _watch_engine(self, engine: RaftEngine) -> None:
        raise await engine.wait_failed()


# Parts of the start.


def _lock(directory: Path) -> IO[bytes]:
    """Make sure that one process uses the data directory."""
    for name in _OF_ETCD:
        if (directory / name).exists():
            # To begin anew beside it would look as if everything were lost.
            raise MemberError(
                f"--data-dir {directory}: holds the data of an etcd ({name}); "
                "kubraft-etcdutl snapshot restore takes over a snapshot of it"
            )
    try:
        return lock_directory(directory)
    except BlockingIOError as error:
        raise MemberError(f"--data-dir {directory}: in use by another process") from error
    except FileExistsError as error:
        raise MemberError(f"--data-dir {directory}: not a directory") from error
    except OSError as error:
        raise MemberError(f"--data-dir {directory}: {cause_of(error)}") from error


async def _join(config: MemberConfig, tls: MemberTls) -> MemberConfig:
    try:
        return await join(config, tls.to_peers)
    except (JoinError, FlagError) as error:
        raise MemberError(str(error)) from error
    except (OSError, WalError) as error:
        raise MemberError(f"--data-dir {config.data_dir}: {cause_of(error)}") from error


def _open_machine(config: MemberConfig) -> KvMachine:
    directory = config.data_dir / "state"
    quota = config.quota_bytes
    map_bytes = _MAP_BYTES_UNBOUNDED if quota < 0 else 2 * quota + _MAP_BYTES_EXTRA
    try:
        return KvMachine.open(directory, map_bytes=map_bytes)
    except (OSError, lmdb.Error) as error:
        raise MemberError(f"--data-dir {directory}: {cause_of(error)}") from error


async def _start(engine: RaftEngine, config: MemberConfig) -> None:
    try:
        await engine.start()
    except OSError as error:
        url = error.filename or ",".join(config.listen_peer_urls)
        raise MemberError(f"--listen-peer-urls {url}: cannot listen: {cause_of(error)}") from error
    except (EngineError, CorruptMemberError) as error:
        raise MemberError(f"--data-dir {config.data_dir}: {error}") from error
