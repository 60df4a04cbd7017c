"""Three engines over mutual TLS that are killed, cut off and stalled."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path

import pytest
import structlog

from kubraft.pki import make_pki
from store.raft import messages as m
from store.raft.codec import encode
from store.raft.config import PeerTls
from store.raft.engine import EngineError, MemberID, NoLeaderError, UnknownOutcomeError
from store.raft.framing import Hello, frame
from store.raft.member_engine import RaftEngine
from store.raft.record import frame as frame_record
from store.raft.record import scan
from store.tls import peer_tls
from store.tls_config import TlsConfig
from tests.store.raft.cluster import Cluster, eventually
from tests.store.raft.tally import Tally


def records_of(content: bytes) -> list[bytes]:
    """The records of the first segment, as they lie in it."""
    return [
        frame_record(found, segment=1) for found in scan(content, segment=1, last=True).payloads
    ]


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> PeerTls:
    directory = tmp_path_factory.mktemp("pki")
    make_pki(directory, members=["store-0"], nodes=[], now=dt.datetime.now(dt.UTC))
    config = TlsConfig(
        cert_file=directory / "store-0-peer.crt",
        key_file=directory / "store-0-peer.key",
        ca_file=directory / "store-ca.crt",
        client_cert_auth=True,
    )
    return peer_tls(config)


@pytest.fixture
async def cluster(tmp_path: Path, tls: PeerTls) -> AsyncIterator[Cluster]:
    members = Cluster(tmp_path, tls=tls, relayed=True)
    await members.start()
    yield members
    await members.close()


async def test_killed_leader_stops_writes_for_less_than_two_seconds(cluster: Cluster) -> None:
    leader = await cluster.leader()
    survivor = cluster.engines[cluster.follower(leader)]
    await survivor.propose(b"before")
    killing = asyncio.create_task(cluster.crash(leader))
    began = time.monotonic()
    await survivor.propose(b"after")
    assert time.monotonic() - began < 2
    await killing
    await cluster.start(leader)
    assert await cluster.settled() == ["before", "after"]


async def test_acknowledged_writes_survive_any_kills(cluster: Cluster) -> None:
    rng = random.Random(1)
    acknowledged: list[str] = []
    stopping = asyncio.Event()

    async def write(client: int) -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            data = f"{client}-{number}"
            engine = rng.choice(list(cluster.engines.values()))
            try:
                await engine.propose(data.encode())
            except EngineError:
                await asyncio.sleep(0.01)
            else:
                acknowledged.append(data)

    writers = [asyncio.create_task(write(client)) for client in range(4)]
    for _ in range(4):
        victim = rng.choice(cluster.ids)
        written = len(acknowledged)
        await cluster.crash(victim)
        await eventually(partial(_grown, acknowledged, written + 20))
        await cluster.start(victim)
    stopping.set()
    await asyncio.gather(*writers)
    history = await cluster.settled()
    assert set(acknowledged) <= set(history)
    assert len(set(history)) == len(history)


def _grown(writes: list[str], size: int) -> bool:
    return len(writes) > size


async def test_cold_start_in_any_order_keeps_everything(cluster: Cluster) -> None:
    leader = await cluster.leader()
    for number in range(150):
        await cluster.engines[leader].propose(str(number).encode())
    for member in list(cluster.engines):
        await cluster.crash(member)
    for member in random.Random(3).sample(cluster.ids, 3):
        await cluster.start(member)
        await asyncio.sleep(0.2)
    assert await cluster.engines[cluster.ids[0]].propose(b"again") == 151
    assert await cluster.settled() == [*map(str, range(150)), "again"]


async def test_cut_off_leader_steps_down_and_the_others_go_on(cluster: Cluster) -> None:
    leader = await cluster.leader()
    other = cluster.follower(leader)
    for relay in cluster.around(leader):
        relay.cut()
    assert await cluster.engines[other].propose(b"majority") == 1
    assert cluster.engines[other].status().leader != leader
    with pytest.raises((NoLeaderError, UnknownOutcomeError)):
        await cluster.engines[leader].propose(b"minority")
    for relay in cluster.around(leader):
        relay.heal()
    await cluster.engines[leader].read_index()
    assert cluster.tallies[leader].commands[0] == "majority"


async def test_stalled_leader_serves_no_stale_read(cluster: Cluster) -> None:
    leader = await cluster.leader()
    other = cluster.follower(leader)
    await cluster.engines[leader].propose(b"old")
    for relay in cluster.around(leader):
        relay.stall()
    reads = [asyncio.create_task(cluster.engines[leader].read_index()) for _ in range(3)]
    assert await cluster.engines[other].propose(b"new") == 2
    late = asyncio.create_task(cluster.engines[leader].read_index())
    for relay in cluster.around(leader):
        relay.heal()
    await asyncio.gather(*reads, return_exceptions=True)
    await late
    assert cluster.tallies[leader].commands == ["old", "new"]


async def test_proposals_that_a_broken_connection_swallows_are_applied_once(
    cluster: Cluster,
) -> None:
    cluster.config = replace(cluster.config, proposal_timeout_ms=60_000)
    leader = await cluster.leader()
    other = cluster.follower(leader)
    await cluster.stop(other)
    await cluster.start(other)
    engine = cluster.engines[other]
    relay = cluster.relays[other, leader]
    await engine.propose(b"first")
    expected = ["first"]
    for turn in range(5):
        relay.stall()
        burst = [f"{turn}.{number}" for number in range(20)]
        expected += burst
        waiting = [asyncio.create_task(engine.propose(data.encode())) for data in burst]
        await asyncio.sleep(0.05)  # they are on their way, and come nowhere
        relay.cut()
        relay.heal()
        # Without an answer from the leader they would wait for the 60 s above.
        await asyncio.wait_for(asyncio.gather(*waiting), 20)
    assert sorted(await cluster.settled()) == sorted(expected)


async def test_leadership_moves_on_request(cluster: Cluster) -> None:
    leader = await cluster.leader()
    target = cluster.follower(leader)
    with pytest.raises(EngineError, match="not the leader"):
        await cluster.engines[target].transfer_leadership(target)
    await cluster.engines[leader].transfer_leadership(target)
    assert await cluster.leader() == target


async def test_large_proposals_and_a_burst_arrive_everywhere(cluster: Cluster) -> None:
    leader = await cluster.leader()
    engine = cluster.engines[cluster.follower(leader)]
    burst = [engine.propose(b"%d" % number * 300_000) for number in range(10)]
    burst += [engine.propose(b"s%d" % number) for number in range(500)]
    results = await asyncio.gather(*burst)
    assert sorted(map(int, map(str, results))) == list(range(1, 511))
    assert len(await cluster.settled()) == 510


_HELLO = frame(Hello(7, 2, 1, 1).encode())
_SNAPSHOT_HELLO = frame(Hello(7, 2, 1, 2).encode())
_HEAD = encode(m.InstallSnapshot(9, 0, 50, 3, {1: "http://a:1"}))


@pytest.mark.parametrize(
    ("noise", "cause"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "first frame of", id="http"),
        pytest.param(frame(b"\xff" * 40), "not a member of a Kubraft store", id="unknown frame"),
        pytest.param(
            frame(Hello(8, 2, 1, 1).encode()), "member of another cluster", id="another cluster"
        ),
        pytest.param(
            frame(Hello(7, 2, 3, 1).encode()), "this is member 1, not 3", id="another member"
        ),
        pytest.param(frame(Hello(7, 1, 1, 1).encode()), "another member with id 1", id="same id"),
        pytest.param(
            frame(Hello(7, 2, 1, 1).encode().replace(b"kbR1\1", b"kbR1\2")),
            "peer protocol version 2",
            id="newer version",
        ),
        pytest.param(_HELLO + frame(b"\x01\x02"), "malformed Append", id="malformed"),
        pytest.param(_HELLO + frame(b"\x63" * 20), "unknown message type 63", id="unknown type"),
        pytest.param(_HELLO + b"\xff\xff\xff\xff", "frame of 4294967295 bytes", id="huge frame"),
        pytest.param(_HELLO + frame(b""), "frame of 0 bytes", id="empty frame"),
        pytest.param(
            _HELLO + frame(encode(m.Append(9, 1, 0, 1, 0, (m.Entry(b"\x09", 2, 9),)))),
            "entry of unknown kind 9",
            id="entry that nobody can apply",
        ),
        pytest.param(
            _HELLO + frame(_HEAD), "snapshot offered without its file", id="snapshot without a file"
        ),
        pytest.param(_SNAPSHOT_HELLO + frame(b"x" * 30), "unknown message", id="bad snapshot"),
        pytest.param(
            _SNAPSHOT_HELLO + frame(bytes([9, *bytes(7)]) + _HEAD) + frame(bytes(4) + b"ninebytes"),
            "does not match its CRC",
            id="bad chunk",
        ),
    ],
)
async def test_noise_on_the_peer_port_closes_that_connection_only(
    tmp_path: Path, noise: bytes, cause: str
) -> None:
    plain = Cluster(tmp_path, size=1)
    await plain.start()
    host, port = plain.config.peers[plain.ids[0]].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with structlog.testing.capture_logs() as logs:
        writer.write(noise)
        async with asyncio.timeout(30):
            with contextlib.suppress(OSError):
                while await reader.read(1000):
                    pass
        await eventually(lambda: any(cause in str(entry.get("cause")) for entry in logs))
    writer.close()
    assert await plain.engines[plain.ids[0]].propose(b"still here") == 1
    assert plain.engines[plain.ids[0]].status().term == 1
    await plain.close()


async def test_nothing_of_an_older_connection_comes_in_behind_a_newer_one(tmp_path: Path) -> None:
    plain = Cluster(tmp_path, size=1)
    await plain.start()
    engine = plain.engines[plain.ids[0]]
    assert await engine.propose(b"first") == 1
    host, port = plain.config.peers[plain.ids[0]].removeprefix("http://").split(":")
    connections = []
    for _ in range(2):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(_HELLO)
        async with asyncio.timeout(30):
            assert await reader.readexactly(5) == frame(b"\0")
        connections.append((reader, writer))
    (old_reader, old), (_, new) = connections
    term = engine.status().term
    for writer, data in ((old, b"old"), (new, b"new")):
        writer.write(frame(encode(m.Forward(term, (m.Proposal(5, 6, data),)))))
    async with asyncio.timeout(30):
        with contextlib.suppress(OSError):
            assert await old_reader.read() == b""
    await eventually(lambda: len(plain.tallies[plain.ids[0]].commands) > 1)
    assert await engine.propose(b"last") == 3
    assert plain.tallies[plain.ids[0]].commands == ["first", "new", "last"]
    old.close()
    new.close()
    await plain.close()


@pytest.mark.parametrize("seed", range(12))
async def test_mutated_conversations_end_and_the_member_goes_on(tmp_path: Path, seed: int) -> None:
    """What a peer says to a follower, with bytes changed, cut out or put in."""
    rng = random.Random(seed)
    said: list[m.Message] = [
        m.Append(1, 1, 0, 1, 0, (m.Entry(b"\x01", 2, 1), m.Entry(b"\0" + b"p" * 40, 3, 1))),
        m.Heartbeat(1, 0),
        m.VoteRequest(2, 9, 1, transfer=False),
        m.PreVoteRequest(2, 1, 9, 1),
        m.Forward(1, (m.Proposal(5, 6, b"data"),)),
        m.ChangeRequest(1, 2, 3, {1: "http://a:1"}),
    ]
    stream = bytearray(_HELLO + b"".join(frame(encode(message)) for message in said))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(stream))
        kind = rng.random()
        if kind < 0.5:
            stream[at] = rng.randrange(256)
        elif kind < 0.75:
            del stream[at : at + rng.randint(1, 20)]
        else:
            stream[at:at] = rng.randbytes(rng.randint(1, 20))

    plain = Cluster(tmp_path, size=1)
    await plain.start()
    engine = plain.engines[plain.ids[0]]
    assert await engine.propose(b"before") == 1
    host, port = plain.config.peers[plain.ids[0]].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(bytes(stream))
    writer.write_eof()
    async with asyncio.timeout(30):
        with contextlib.suppress(OSError):
            while await reader.read(1000):
                pass
    writer.close()
    assert await engine.propose(b"after") == 2
    await plain.close()


async def test_member_of_a_cluster_with_another_authority_is_refused_both_ways(
    cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "pki").mkdir()
    make_pki(tmp_path / "pki", members=["store-9"], nodes=[], now=dt.datetime.now(dt.UTC))
    leader = await cluster.leader()
    host, port = cluster.config.peers[leader].removeprefix("https://").split(":")
    theirs = ssl.create_default_context(cafile=str(tmp_path / "pki/store-ca.crt"))
    theirs.load_cert_chain(tmp_path / "pki/store-9-peer.crt", tmp_path / "pki/store-9-peer.key")
    with pytest.raises(ssl.SSLCertVerificationError):  # they do not trust us
        await asyncio.open_connection(host, int(port), ssl=theirs)
    theirs.check_hostname, theirs.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError):  # nor do we trust them
        reader, writer = await asyncio.open_connection(host, int(port), ssl=theirs)
        writer.write(_HELLO)
        async with asyncio.timeout(30):
            assert await reader.read(100) == b""
        writer.close()
    assert await cluster.engines[leader].propose(b"still here") == 1


async def test_peer_without_a_certificate_is_refused(cluster: Cluster) -> None:
    host, port = cluster.config.peers[cluster.ids[0]].removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(frame(Hello(7, 2, 1, 1).encode()))
    with contextlib.suppress(OSError):
        assert await reader.read(100) == b""
    writer.close()


class TestRefusedDataDirectories:
    async def test_of_another_cluster(self, tmp_path: Path) -> None:
        single = Cluster(tmp_path, size=1)
        await single.start()
        await single.stop()
        single.config = replace(single.config, cluster_id=8)
        with pytest.raises(EngineError, match="data directory of another cluster"):
            await single.start()

    async def test_whose_state_is_ahead_of_the_log(self, tmp_path: Path) -> None:
        single = Cluster(tmp_path, size=1)
        await single.start()
        await single.engines[single.ids[0]].propose(b"x")
        await single.stop()
        for segment in (tmp_path / "1" / "wal").iterdir():
            segment.unlink()
        with pytest.raises(EngineError, match="the write-ahead log ends at index 1, but"):
            await single.start()

    @pytest.mark.parametrize("records", [2, 5])
    async def test_whose_log_was_cut_between_records(self, tmp_path: Path, records: int) -> None:
        """Nothing about such a file looks damaged; what the state has gives it away."""
        single = Cluster(tmp_path, size=1)
        await single.start()
        for number in range(20):
            await single.engines[single.ids[0]].propose(b"%d" % number)
        await single.stop()
        (segment,) = (tmp_path / "1" / "wal").iterdir()
        content = segment.read_bytes()
        ends = list(accumulate(len(record) for record in records_of(content)))
        segment.write_bytes(content[: ends[-1 - records]])
        cause = rf"{segment}: the write-ahead log ends at index \d+, but the state has \d+: "
        with pytest.raises(EngineError, match=cause + "acknowledged entries were cut off"):
            await single.start()

    async def test_in_use(self, tmp_path: Path) -> None:
        single = Cluster(tmp_path, size=1)
        await single.start()
        config = replace(single.config, data_dir=tmp_path / "1")
        with pytest.raises(EngineError, match="in use by another process"):
            await RaftEngine(config, Tally(tmp_path / "other")).start()
        await single.close()

    async def test_port_taken(self, tmp_path: Path) -> None:
        single = Cluster(tmp_path, size=1)
        await single.start()
        config = replace(single.config, data_dir=tmp_path / "2")
        engine = RaftEngine(config, Tally(tmp_path / "other"))
        with pytest.raises(OSError, match=r"in use: .http://127\.0\.0\.1:\d+"):
            await engine.start()
        # It left nothing locked behind.
        free = replace(config, listen_urls=("http://127.0.0.1:0",))
        again = RaftEngine(free, Tally(tmp_path / "other"))
        await again.start()
        await again.stop()
        await single.close()


async def test_full_disk_ends_the_member_with_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = Cluster(tmp_path, size=1)
    await single.start()
    engine = single.engines[single.ids[0]]
    await engine.propose(b"x")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fdatasync", full)
    with pytest.raises((NoLeaderError, UnknownOutcomeError)):
        await engine.propose(b"y")
    failure = await engine.wait_failed()
    assert str(failure).endswith(".wal: cannot write: No space left on device")
    monkeypatch.undo()
    await single.stop()
    await single.start()
    await single.engines[single.ids[0]].read_index()
    assert (await single.settled())[0] == "x"
    await single.close()


async def test_idle_cluster_costs_little(cluster: Cluster) -> None:
    """Three members in this process, each with heartbeats every 50 ms over TLS."""
    await cluster.leader()
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(1.0)
    share = (time.process_time() - cpu) / (time.monotonic() - began)
    assert share < 0.3
    assert MemberID(1) in cluster.engines
