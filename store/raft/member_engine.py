"""`RaftEngine`: a member's consensus as the store uses it, on real sockets, disk and clock.

A thin shell: the event loop feeds the driver and carries out what it asks. `LogWriter` makes WAL
batches durable, in a thread where an fsync could hold up the loop. A disk or state machine that
fails stops the member: `wait_failed` says why, in one line.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from kubraft.log import get_logger
from store.figures import FIGURES
from store.raft import membership
from store.raft.codec import encode
from store.raft.complaints import Complaints
from store.raft.config import RaftConfig
from store.raft.disk import DiskDirectory
from store.raft.driver import Driver, Options
from store.raft.effects import Timing
from store.raft.engine import (
    EngineError,
    EngineStatus,
    LearnerNotReadyError,
    LogIndex,
    MemberID,
    NoLeaderError,
    ProposalDroppedError,
    Role,
    StaleChangeError,
    StateMachine,
    UnknownOutcomeError,
)
from store.raft.framing import REMOVED, FrameError
from store.raft.link import Caller, Link
from store.raft.log import Base, Batch, Log, LogImage
from store.raft.log_writer import LogWriter
from store.raft.messages import InstallSnapshot, Message
from store.raft.peer_server import PeerServer
from store.raft.proposals import PACKED_BYTES
from store.raft.questions import Answer, ask
from store.raft.snapshots import Snapshots
from store.raft.wal import Identity, Wal, WalError, open_wal

log = get_logger("store.raft")

# A leader steps down after this many election timeouts without a quorum, and a follower campaigns
# after up to the second many without a leader.
_QUORUM_ELECTIONS = 1.1
_ELECTIONS_MAX = 1.5


async def _know_nothing(_: bytes) -> bytes:
    raise FrameError("nobody here answers questions")


async def _find_nothing() -> None:
    """Nothing is wrong."""


class RaftEngine:
    """One member's consensus; implements `store.raft.engine.Engine`."""

    def __init__(
        self,
        config: RaftConfig,
        state_machine: StateMachine,
        *,
        published: Callable[[int], bool] = lambda _: False,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            config: how to take part.
            state_machine: what to apply to.
            published: whether the state says of a member that it was ready once.
        """
        self._config = config
        self._published = published
        # Answers what other members `ask`.
        self.respond: Answer = _know_nothing
        # Looks at the recovered state before anybody is spoken to; what it raises, `start` raises.
        self.check: Callable[[], Awaitable[None]] = _find_nothing
        self._state_machine = state_machine
        self._rng = random.Random()  # noqa: S311  # election timeouts, back-off, a session's name
        self._links: dict[int, Link] = {}
        # The configurations that links were last brought in line with: newest, applied.
        self._linked: tuple[object, object] = (None, None)
        self._closing: set[asyncio.Task[None]] = set()
        self._heard: dict[int, float] = {}
        self._complaints = Complaints()
        self._installing: asyncio.Task[None] | None = None
        self._waits: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._batch: Batch | None = None
        self._scheduled = False
        # When it is due is kept beside it: uvloop's handle of a time that has passed does not know.
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._pinger: asyncio.TimerHandle | None = None
        self._stopping = False
        self._writer: LogWriter
        self._driver: Driver
        self._snapshots: Snapshots
        self._server: PeerServer
        self._loop: asyncio.AbstractEventLoop
        self._failed: asyncio.Future[EngineError]

    # ---- Engine

    async def start(self) -> None:
        """Recover from disk, listen, and begin to dial the peers.

        Raises:
            EngineError: the data directory cannot be used; the message names file and cause.
            OSError: the peer URL cannot be listened on, or a TLS file cannot be read.
        """
        config = self._config
        self._loop = asyncio.get_running_loop()
        self._failed = self._loop.create_future()
        self._caller = Caller(
            config.cluster_id, config.member_id, config.tls.dial if config.tls else None
        )
        wal, image = self._open_wal()
        self._writer = LogWriter(wal, self._written)
        try:
            await self._recover(image, wal.newest)
            await self.check()
            await self._listen()
        except BaseException:
            await self._writer.close()
            raise
        for peer, url in config.peers.items():
            self._dial(peer, url)
        self._follow_members()
        self._ping()
        self._kick()

    async def stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        for handle in (self._timer, self._pinger):
            if handle is not None:
                handle.cancel()
        if self._installing is not None:
            self._installing.cancel()
            await asyncio.gather(self._installing, return_exceptions=True)
        await self._snapshots.close()
        await asyncio.gather(*(link.close() for link in self._links.values()), *self._closing)
        await self._server.close()
        self._driver.fail_waiters()
        for _, waiter in self._waits:
            waiter.cancel()
        await self._writer.close()
        if not self._failed.done():
            self._state_machine.persist()
            self._failed.cancel()

    async def propose(self, data: bytes) -> object:
        if len(data) > self._config.proposal_bytes_max:
            raise ProposalDroppedError(f"proposal of {len(data)} bytes is too large")
        self._check_running()
        done: asyncio.Future[object] = self._loop.create_future()
        number = self._driver.propose(self._loop.time(), data, _resolver(done))
        self._kick()
        try:
            return _checked(await done)
        except asyncio.CancelledError:
            self._driver.abandon(number)
            raise

    async def read_index(self) -> LogIndex:
        self._check_running()
        done: asyncio.Future[object] = self._loop.create_future()
        self._driver.read_index(self._loop.time(), _resolver(done))
        self._kick()
        index = _checked(await done)
        assert isinstance(index, int)
        return LogIndex(index)

    def status(self) -> EngineStatus:
        return self._driver.status()

    async def transfer_leadership(self, to: MemberID) -> None:
        self._check_running()
        self._driver.transfer(self._loop.time(), to)
        if not await self._until(lambda: self._driver.core.leader() == to):
            raise EngineError(f"{to:x} did not take over in time")

    def members(self) -> Mapping[int, str]:
        return self._driver.members

    async def change_members(self, before: Mapping[int, str], after: Mapping[int, str]) -> None:
        self._check_running()
        done: asyncio.Future[object] = self._loop.create_future()
        self._driver.change_members(self._loop.time(), before, after, _resolver(done))
        self._kick()
        _checked(await done)

    async def ask(self, peer: int, question: bytes) -> bytes:
        """What `respond` of another member makes of `question`.

        Raises:
            OSError, TimeoutError, FrameError: it does not answer.
        """
        return await ask(self._caller, peer, self._urls_of(peer, self.members()[peer]), question)

    async def wait_failed(self) -> EngineError:
        """Wait until this member cannot go on, and say why; it must be stopped then."""
        return await asyncio.shield(self._failed)

    # ---- Shell of the driver

    def persist(self, batch: Batch) -> None:
        self._batch = batch  # for `_advance` to write, once what need not wait has left

    def send(self, peer: int, message: Message) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.send(encode(message))

    def congested(self, peer: int) -> bool:
        link = self._links.get(peer)
        return link is not None and link.congested()

    def stream_snapshot(self, peer: int, term: int) -> None:
        link = self._links.get(peer)
        if link is not None and link.up:
            self._snapshots.stream(peer, link.url, term)

    def streaming(self) -> bool:
        return self._snapshots.streaming

    def install(self, base: Base) -> None:
        self._installing = asyncio.create_task(self._install(base), name="raft install")

    async def _install(self, base: Base) -> None:
        try:
            await self._snapshots.install(base.index, base.term)
        except Exception as error:  # noqa: BLE001  # whatever it is, the member cannot go on
            self._fail(error)
            return
        self._guard(partial(self._driver.snapshot_installed, self._loop.time()))
        self._kick()

    def discard_snapshot(self, index: int, term: int) -> None:
        self._snapshots.discard(index, term)

    def silent_peers(self) -> tuple[int, ...]:
        since = self._loop.time() - self._config.election_ms / 1000
        voters = self._driver.core.voters()
        return tuple(
            peer
            for peer in sorted(voters)
            if peer != self._config.member_id and self._heard.get(peer, since) <= since
        )

    # ---- parts

    @property
    def _append_bytes_max(self) -> int:
        # Above the largest entry, for the library cuts larger ones wrongly.
        return self._config.proposal_bytes_max + 2 * PACKED_BYTES

    def _open_wal(self) -> tuple[Wal, LogImage]:
        config = self._config
        voters = {} if config.joins else {int(peer): url for peer, url in config.peers.items()}
        try:
            directory = DiskDirectory(config.wal_dir or config.data_dir / "wal")
            try:
                return open_wal(directory, Identity(config.cluster_id, config.member_id), voters)
            except BaseException:
                directory.close()
                raise
        except (OSError, WalError) as error:
            raise EngineError(str(error)) from error

    async def _recover(self, image: LogImage, end_of_log: str) -> None:
        """Bring log and state together; finish the install of a snapshot that was cut short."""
        config = self._config
        try:
            self._snapshots = Snapshots(
                config.data_dir / "snap",
                self._state_machine,
                self._caller,
                members_at=self._members_at,
                on_received=self._receive_snapshot,
            )
            base = image.base
            if self._state_machine.durable_index()[0] < base.index and self._snapshots.find(
                base.index, base.term
            ):
                await self._snapshots.install(base.index, base.term)
            self._snapshots.clean()
        except (OSError, ValueError) as error:
            raise EngineError(str(error)) from error
        try:
            self._driver = self._make_driver(Log(image))
        except EngineError as error:
            raise EngineError(f"{end_of_log}: {error}") from error

    def _make_driver(self, log: Log) -> Driver:
        """Raises EngineError: log and state do not fit together."""
        config = self._config
        return Driver(
            config.member_id,
            log,
            self._state_machine,
            self,
            Options(
                Timing(
                    heartbeat_s=config.heartbeat_ms / 1000,
                    election_s=config.election_ms / 1000,
                    election_s_max=_ELECTIONS_MAX * config.election_ms / 1000,
                    quorum_s=_QUORUM_ELECTIONS * config.election_ms / 1000,
                    append_bytes_max=self._append_bytes_max,
                ),
                proposal_s=config.proposal_timeout_ms / 1000,
                compact_entries=config.compact_entries,
                retained_entries=config.retained_entries,
            ),
            rng=self._rng,
            now=self._loop.time(),
        )

    async def _listen(self) -> None:
        config = self._config
        self._server = PeerServer(
            cluster_id=config.cluster_id,
            member_id=config.member_id,
            members=self.members,
            published=self._published,
            frame_bytes_max=4 * self._append_bytes_max + (1 << 20),
            on_messages=self._receive,
            on_heard=self._hear,
            take_snapshot=self._snapshots.receive,
            respond=self.respond,
        )
        urls = config.listen_urls or membership.split_urls(config.peers[config.member_id])
        try:
            for url in urls:
                secure = config.tls is not None and url.startswith("https:")
                await self._server.listen(url, config.tls.accept if secure and config.tls else None)
        except OSError:
            await self._server.close()
            raise

    def _members_at(self, index: int) -> membership.Members:
        """Raises ValueError: the log begins later; a snapshot that old is of no use to anyone."""
        if index < self._driver.log_start:
            raise ValueError(f"snapshot of index {index} made before the log was reset")
        return self._driver.core.members_at(index)

    def _follow_members(self) -> None:
        """Dial whom the newest configuration names, and leave whom the applied one removed."""
        newest, applied = self._driver.core.members(), self._driver.members
        if self._linked == (newest, applied):
            return
        self._linked = (newest, applied)
        for peer, place in membership.present(newest).items():
            self._dial(peer, place)
        for peer in list(self._links):
            if membership.was_removed(applied, peer):
                self._hang_up(peer)
                self._server.hang_up(peer)
        if membership.was_removed(applied, self._config.member_id):
            self._leave()

    def _dial(self, peer: int, place: str) -> None:
        """Make sure that a link to `peer` is there and leads to where it is."""
        if peer == self._config.member_id:
            return
        urls = self._urls_of(peer, place)
        if peer in self._links and self._links[peer].urls != urls:
            self._hang_up(peer)
        if peer not in self._links:
            self._links[peer] = Link(
                self._caller,
                peer,
                urls,
                rng=self._rng,
                on_up=self._connected,
                on_down=self._disconnected,
                on_heard=self._hear,
                on_removed=self._leave,
            )

    def _urls_of(self, peer: int, place: str) -> tuple[str, ...]:
        detour = self._config.detours.get(MemberID(peer))
        return (detour,) if detour else membership.split_urls(place)

    def _hang_up(self, peer: int) -> None:
        task = asyncio.create_task(self._links.pop(peer).close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _leave(self) -> None:
        """This member is no part of the cluster any more, and never will be again."""
        if not self._stopping:
            self._fail(EngineError(REMOVED))

    def _connected(self, peer: int) -> None:
        self._hear(peer)
        self._guard(partial(self._driver.connected, self._loop.time(), peer))
        self._kick()

    def _disconnected(self, peer: int) -> None:
        self._heard.pop(peer, None)
        if not self._stopping:
            self._guard(partial(self._driver.disconnected, self._loop.time(), peer))
            self._kick()

    def _receive(self, peer: int, messages: list[Message]) -> None:
        now = self._loop.time()
        for message in messages:
            self._guard(partial(self._driver.receive, now, peer, message))
        self._kick()

    def _receive_snapshot(self, peer: int, head: InstallSnapshot) -> None:
        self._guard(partial(self._driver.receive, self._loop.time(), peer, head))
        self._kick()

    def _hear(self, peer: int) -> None:
        self._heard[peer] = self._loop.time()

    def _ping(self) -> None:
        """Ask peers that are quiet anyhow whether they live; only errors and status need it."""
        period_s = self._config.election_ms / 2000
        now = self._loop.time()
        for peer, link in self._links.items():
            if now - self._heard.get(peer, 0.0) >= period_s / 2:
                link.ping()
        self._pinger = self._loop.call_later(period_s, self._ping)

    def _kick(self) -> None:
        """Let the driver advance once everything that is ready to be read has been."""
        if not self._scheduled and not self._stopping:
            self._scheduled = True
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        self._scheduled = False
        if self._stopping or self._failed.done():
            return
        self._guard(partial(self._driver.advance, self._loop.time()))
        for link in self._links.values():
            link.flush()
        batch, self._batch = self._batch, None
        if batch is not None:
            self._writer.write(batch)
        self._follow_members()
        self._notify()
        self._plan()

    def _written(self, failure: BaseException | None) -> None:
        if self._stopping:
            return
        if failure is not None:
            self._fail(failure)
            return
        self._guard(partial(self._driver.persisted, self._loop.time()))
        # What waited for this batch leaves now; what it allows is done with what came meanwhile.
        for link in self._links.values():
            link.flush()
        self._kick()

    def _plan(self) -> None:
        """Arm the timer; one that fires too early only plans again."""
        wakeup = self._driver.wakeup()
        if self._timer is not None:
            if self._timer_due <= wakeup:
                return
            self._timer.cancel()
        self._timer, self._timer_due = self._loop.call_at(wakeup, self._wake), wakeup

    def _wake(self) -> None:
        # uvloop may fire up to half a millisecond early: whether a timer is still to come is
        # known only by forgetting it here.
        self._timer = None
        if self._driver.status().role is Role.LEADER:
            self._note_lateness(self._loop.time() - self._timer_due)
        self._kick()

    def _note_lateness(self, late_s: float) -> None:
        """Count signs of life that a leader gives more than a heartbeat late."""
        if late_s <= self._config.heartbeat_ms / 1000:
            return
        FIGURES.late_heartbeats += 1
        if self._complaints.is_new("late", now=self._loop.time()):
            log.warning(
                "heartbeat late",
                detail="this leader is overloaded, or was stopped",
                late_s=round(late_s, 3),
            )

    def _guard(self, action: Callable[[], object]) -> None:
        """Run a part of the driver; an impossible state or a failed state machine is the end."""
        if self._failed.done():
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failed.done():
            return
        cause = str(error) or type(error).__name__
        # A failed disk is told in one line; anything else is a defect, and its place matters.
        defect = None if isinstance(error, OSError | WalError | EngineError) else error
        log.error("member failed", member=self._config.name, cause=cause, exc_info=defect)
        failure = EngineError(cause)
        failure.__cause__ = error
        self._failed.set_result(failure)
        self._driver.fail_waiters()

    def _check_running(self) -> None:
        if self._stopping or self._failed.done():
            raise NoLeaderError

    async def _until(self, condition: Callable[[], bool]) -> bool:
        """Wait for something that `_advance` brings about, at most two election timeouts."""
        reached: asyncio.Future[None] = self._loop.create_future()
        self._waits.append((condition, reached))
        self._kick()
        try:
            async with asyncio.timeout(2 * self._config.election_ms / 1000):
                await reached
        except TimeoutError:
            return False
        finally:
            self._waits = [wait for wait in self._waits if wait[1] is not reached]
        return True

    def _notify(self) -> None:
        for condition, reached in self._waits:
            if not reached.done() and condition():
                reached.set_result(None)


def _resolver(done: asyncio.Future[object]) -> Callable[[object], None]:
    def resolve(result: object) -> None:
        if not done.done():
            done.set_result(result)

    return resolve


_ERRORS = (
    NoLeaderError,
    ProposalDroppedError,
    UnknownOutcomeError,
    StaleChangeError,
    LearnerNotReadyError,
)


def _checked(result: object) -> object:
    if isinstance(result, _ERRORS):
        raise result
    return result
