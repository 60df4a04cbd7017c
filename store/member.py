"""One member of the store: its parts, put together, started and stopped in order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import ssl
import time
from collections.abc import Coroutine
from typing import IO, Any

import lmdb
import structlog

from kubraft.http_server import HttpServer
from kubraft.pb.etcdserverpb.rpc_pb2 import Member as MemberMessage
from store import flags
from store.auto_compaction import AutoCompactor
from store.config import MemberConfig, TlsConfig
from store.directory import make_directory
from store.flags import FlagError
from store.housekeeping import Housekeeping
from store.joining import JoinError, join
from store.mvcc import command
from store.mvcc.command import Kind
from store.mvcc.lease_expiry import LeaseExpiry
from store.mvcc.machine import KvMachine
from store.raft.config import RaftConfig, TlsFiles
from store.raft.engine import EngineError, MemberID
from store.raft.member_engine import RaftEngine
from store.raft.member_engine import client_tls as peer_client_tls
from store.raft.membership import urls_of
from store.raft.wal import WalError
from store.rpc.caller import Callers
from store.rpc.jwt_tokens import JwtTokens, open_tokens
from store.rpc.server import StoreServer
from store.rpc.service import ClusterMember, MemberServices, ServiceOptions
from store.rpc.simple_tokens import SimpleTokens
from store.state_machine import StoreStateMachine

log = structlog.get_logger("store.member")

# Virtual memory set aside for the database; it may outgrow its quota by what was under way.
_MAP_BYTES_EXTRA = 2 << 30
_STOP_GRACE_S = 0.5
_PUBLISH_RETRY_S = 0.2


class MemberError(Exception):
    """The member cannot start or go on; one line that names the flag or file and the cause."""


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
        self._server: StoreServer | None = None
        self._http: list[HttpServer] = []

    async def start(self) -> None:
        """Open the data directory, bind the ports, join the cluster and begin to serve.

        Raises:
            MemberError: the member cannot start.
        """
        self._failed = asyncio.get_running_loop().create_future()
        config = self._config
        client_tls = _check_tls(config)
        self._lock_directory()
        if config.existing:
            config = self._config = await _join(config)
        machine = self._machine = self._open_machine()
        expiry = LeaseExpiry()
        state_machine = StoreStateMachine(machine, expiry)
        engine = self._engine = RaftEngine(_raft_config(config), state_machine)
        services = _services(config, engine, machine, expiry, self._callers(machine))
        server = self._server = StoreServer(services)
        machine.on_events = lambda events: services.hub.notify(events, machine.store.revision)
        machine.on_replaced = services.hub.desync_all
        self._bind(server, client_tls)
        try:
            await engine.start()
        except OSError as error:
            urls = ",".join(config.listen_peer_urls)
            raise MemberError(f"--listen-peer-urls {urls}: {_cause(error)}") from error
        except EngineError as error:
            raise MemberError(f"--data-dir {config.data_dir}: {error}") from error
        self._housekeeping = Housekeeping(
            engine=engine,
            machine=machine,
            expiry=expiry,
            state_machine=state_machine,
            flush_interval_s=config.flush_interval_s,
            election_s=config.election_ms / 1000,
            auto_compactor=_auto_compactor(config),
        )
        await server.start()
        await self._serve_http(services, self._housekeeping)
        self._own(self._housekeeping.run())
        self._own(self._publish(engine, machine, server))
        self._own(self._watch_engine(engine))

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
            self._failed.set_result(MemberError(f"{where}: {_cause(error)}"))

    async def wait(self) -> MemberError:
        """Wait until the member cannot go on, and say why."""
        return await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """Stop serving, hand everything to the disk, and leave; also after a failed start."""
        if self._server is not None:
            await self._server.stop(_STOP_GRACE_S)
        for http in self._http:
            await http.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._engine is not None and self._housekeeping is not None:
            try:
                await self._engine.stop()
            except (OSError, lmdb.Error) as error:
                # What is not flushed is in the log and comes back at the next start.
                log.warning("stopped without a last flush", cause=_cause(error))
        if self._housekeeping is not None:
            self._housekeeping.close()
        if self._machine is not None:
            self._machine.close()
        if self._lock is not None:
            self._lock.close()

    # Parts of the start.

    def _lock_directory(self) -> None:
        """Make sure that one process uses the data directory."""
        directory = self._config.data_dir
        try:
            make_directory(directory)
            self._lock = (directory / "lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MemberError(f"--data-dir {directory}: in use by another process") from error
        except OSError as error:
            raise MemberError(f"--data-dir {directory}: {_cause(error)}") from error

    def _open_machine(self) -> KvMachine:
        directory = self._config.data_dir / "state"
        try:
            return KvMachine.open(
                directory, map_bytes=2 * self._config.quota_bytes + _MAP_BYTES_EXTRA
            )
        except (OSError, lmdb.Error) as error:
            raise MemberError(f"--data-dir {directory}: {_cause(error)}") from error

    def _callers(self, machine: KvMachine) -> Callers:
        config = self._config
        tokens: SimpleTokens | JwtTokens
        if config.tokens == "simple":
            now = asyncio.get_running_loop().time
            tokens = SimpleTokens(ttl_s=config.token_ttl_s, now=now)
            machine.auth_commands.tokens = tokens
        else:
            try:
                tokens = open_tokens(config.tokens.partition(",")[2], now=time.time)
            except FlagError as error:
                raise MemberError(str(error)) from error
        tls = config.client_tls
        return Callers(
            machine.auth, tokens, client_cert_auth=tls is not None and tls.client_cert_auth
        )

    def _bind(self, server: StoreServer, tls: ssl.SSLContext | None) -> None:
        for url in self._config.listen_client_urls:
            address = flags.host_and_port("listen-client-urls", url)
            try:
                server.listen(address, tls if url.startswith("https:") else None)
            except OSError as error:
                raise MemberError(
                    f"--listen-client-urls {url}: cannot listen, address in use or not ours"
                ) from error

    async def _serve_http(self, services: MemberServices, housekeeping: Housekeeping) -> None:
        """Raises MemberError: an address of --listen-metrics-urls cannot be had."""
        config = self._config
        if not config.listen_metrics_urls:
            return
        from store.http_front import HttpFront  # noqa: PLC0415  # heavy, and not always there

        front = HttpFront(services, housekeeping)
        for url in config.listen_metrics_urls:
            host, _, port = flags.host_and_port("listen-metrics-urls", url).rpartition(":")
            http = HttpServer(front.handle)
            tls = _http_tls(config) if url.startswith("https:") else None
            try:
                await http.start(host.strip("[]"), int(port), tls, reuse_port=False)
            except OSError as error:
                raise MemberError(f"--listen-metrics-urls {url}: {_cause(error)}") from error
            self._http.append(http)

    # Tasks.

    async def _publish(self, engine: RaftEngine, machine: KvMachine, server: StoreServer) -> None:
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
                log.info("waiting for a quorum", member=config.name, cause=str(error))
                await asyncio.sleep(_PUBLISH_RETRY_S)
        await server.set_serving(serving=True)
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


async def _join(config: MemberConfig) -> MemberConfig:
    tls = _peer_files(config)
    try:
        return await join(config, peer_client_tls(tls) if tls else None)
    except JoinError as error:
        raise MemberError(str(error)) from error
    except (OSError, WalError) as error:
        raise MemberError(f"--data-dir {config.data_dir}: {_cause(error)}") from error


def _peer_files(config: MemberConfig) -> TlsFiles | None:
    tls = config.peer_tls
    return TlsFiles(tls.cert_file, tls.key_file, tls.ca_file) if tls and tls.ca_file else None


def _raft_config(config: MemberConfig) -> RaftConfig:
    peers = {member.id: ",".join(member.peer_urls) for member in config.initial_cluster}
    if config.joined is not None:
        peers = dict(config.joined.places)
    try:
        return RaftConfig(
            name=config.name,
            member_id=MemberID(config.member_id),
            cluster_id=config.cluster_id,
            peers={MemberID(member): urls_of(place) for member, place in peers.items()},
            joins=config.joined is not None,
            data_dir=config.data_dir,
            listen_url=config.listen_peer_urls[0],
            tls=_peer_files(config),
            heartbeat_ms=config.heartbeat_ms,
            election_ms=config.election_ms,
            compact_entries=config.snapshot_count,
            retained_entries=max(config.snapshot_count // 2, 1),
            proposal_bytes_max=config.request_bytes_max + 64 * 1024,
        )
    except ValueError as error:
        raise MemberError(str(error)) from error


def _services(
    config: MemberConfig,
    engine: RaftEngine,
    machine: KvMachine,
    expiry: LeaseExpiry,
    callers: Callers,
) -> MemberServices:
    # Source: etcd, server/etcdserver: three halves of an election timeout, in whole seconds.
    lease_ttl_s_min = -(-3 * config.election_ms // 2000)
    return MemberServices(
        cluster_id=config.cluster_id,
        member_id=config.member_id,
        members={
            member.id: ClusterMember(member.id, member.name, member.peer_urls)
            for member in config.initial_cluster
        },
        engine=engine,
        machine=machine,
        expiry=expiry,
        options=ServiceOptions(
            request_bytes_max=config.request_bytes_max,
            txn_ops_max=config.txn_ops_max,
            quota_bytes=config.quota_bytes,
            lease_ttl_s_min=lease_ttl_s_min,
            learners_max=config.learners_max,
            watch_progress_interval_s=config.watch_progress_interval_s,
            password_cost=config.password_cost,
        ),
        callers=callers,
    )


def _auto_compactor(config: MemberConfig) -> AutoCompactor | None:
    if config.auto_compaction_retention <= 0:
        return None
    return AutoCompactor(config.auto_compaction_mode, config.auto_compaction_retention)


def _check_tls(config: MemberConfig) -> ssl.SSLContext | None:
    """Read and try all PEM files; the TLS context of the client port, None for plain text.

    Raises:
        MemberError: a file cannot be read or used.
    """
    if config.peer_tls is not None:
        if config.peer_tls.ca_file is None:
            raise MemberError("--listen-peer-urls: https needs --peer-trusted-ca-file")
        _check_pem(config.peer_tls, "peer-")
    tls = config.client_tls
    if tls is None:
        return None
    context = _check_pem(tls, "")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    if tls.client_cert_auth:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _http_tls(config: MemberConfig) -> ssl.SSLContext:
    """As on the client port. The files were checked before."""
    tls = config.client_tls
    assert tls is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.ca_file is not None:
        context.load_verify_locations(tls.ca_file)
    if tls.client_cert_auth:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_pem(tls: TlsConfig, prefix: str) -> ssl.SSLContext:
    files = {"cert-file": tls.cert_file, "key-file": tls.key_file, "trusted-ca-file": tls.ca_file}
    for flag, path in files.items():
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise MemberError(f"--{prefix}{flag} {path}: {_cause(error)}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    except (ssl.SSLError, OSError) as error:
        message = f"--{prefix}cert-file {tls.cert_file}: not a certificate that fits its key"
        raise MemberError(message) from error
    try:
        if tls.ca_file is not None:
            context.load_verify_locations(tls.ca_file)
    except (ssl.SSLError, OSError) as error:
        message = f"--{prefix}trusted-ca-file {tls.ca_file}: not a certificate"
        raise MemberError(message) from error
    return context


def _cause(error: BaseException) -> str:
    """The cause of an error in a few words and one line."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return " ".join(str(error).split()) or type(error).__name__
