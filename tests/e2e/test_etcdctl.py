"""The real etcdctl against every member, leader or not."""

import base64
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.store_cluster import TOOLS, StoreCluster, wait_until

pytestmark = pytest.mark.e2e

MEMBERS = ("store-0", "store-1", "store-2")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    with StoreCluster(tmp_path_factory.mktemp("etcdctl")) as cluster:
        cluster.start()
        cluster.wait_ready()
        yield cluster


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Keys of one test only, since the cluster is shared."""
    return f"{request.node.name}/"


def revision(cluster: StoreCluster, at: str) -> int:
    return int(cluster.etcdctl_json("get", "none", at=at)["header"]["revision"])


def is_gone(cluster: StoreCluster, key: str, at: str) -> bool:
    return not cluster.etcdctl("get", key, at=at).stdout


def keys(answer: Any) -> list[str]:
    return [base64.b64decode(kv["key"]).decode() for kv in answer.get("kvs", ())]


@pytest.mark.parametrize("at", MEMBERS)
def test_put_get_and_del(cluster: StoreCluster, at: str, prefix: str) -> None:
    for name in ("b", "a", "c"):
        assert cluster.etcdctl("put", prefix + name, f"value {name}", at=at).stdout == "OK\n"
    get = cluster.etcdctl("get", prefix + "a", at=at)
    assert get.stdout == f"{prefix}a\nvalue a\n"
    assert cluster.etcdctl("get", prefix + "a", "--print-value-only", at=at).stdout == "value a\n"
    ordered = cluster.etcdctl_json("get", prefix, "--prefix", "--order=DESCEND", at=at)
    assert keys(ordered) == [prefix + "c", prefix + "b", prefix + "a"]
    limited = cluster.etcdctl_json("get", prefix, "--prefix", "--limit=2", at=at)
    assert keys(limited) == [prefix + "a", prefix + "b"]
    assert (limited["more"], limited["count"]) == (True, 3)
    by_creation = cluster.etcdctl_json("get", prefix, "--prefix", "--sort-by=CREATE", at=at)
    assert keys(by_creation) == [prefix + "b", prefix + "a", prefix + "c"]
    only = cluster.etcdctl("get", prefix, "--prefix", "--keys-only", at=at).stdout.split()
    assert only == [prefix + "a", prefix + "b", prefix + "c"]
    count = cluster.etcdctl("get", prefix, "--prefix", "--count-only", "-w", "fields", at=at)
    assert '"Count" : 3' in count.stdout
    deleted = cluster.etcdctl("del", prefix + "b", "--prev-kv", at=at).stdout
    assert deleted == f"1\n{prefix}b\nvalue b\n"
    assert cluster.etcdctl("del", prefix, "--prefix", at=at).stdout == "2\n"


@pytest.mark.parametrize("at", MEMBERS)
def test_get_reads_the_past_until_it_is_compacted(
    cluster: StoreCluster, at: str, prefix: str
) -> None:
    cluster.etcdctl("put", prefix + "k", "old", at=at)
    then = revision(cluster, at)
    cluster.etcdctl("put", prefix + "k", "new", at=at)
    past = cluster.etcdctl("get", prefix + "k", f"--rev={then}", "--print-value-only", at=at)
    assert past.stdout == "old\n"
    now = revision(cluster, at)
    compacted = cluster.etcdctl("compact", str(now), "--physical", at=at).stdout
    assert compacted == f"compacted revision {now}\n"
    refused = cluster.etcdctl("get", prefix + "k", f"--rev={then}", at=at, check=False)
    assert refused.returncode != 0
    assert "etcdserver: mvcc: required revision has been compacted" in refused.stderr
    future = cluster.etcdctl("get", prefix + "k", f"--rev={now + 1000}", at=at, check=False)
    assert "etcdserver: mvcc: required revision is a future revision" in future.stderr
    assert cluster.etcdctl("get", prefix + "k", "--print-value-only", at=at).stdout == "new\n"


@pytest.mark.parametrize("at", MEMBERS)
def test_txn_takes_one_branch(cluster: StoreCluster, at: str, prefix: str) -> None:
    cluster.etcdctl("put", prefix + "k", "1", at=at)
    question = (
        f'value("{prefix}k") = "1"\nversion("{prefix}other") = "0"\n\n'
        f"put {prefix}k 2\nget {prefix}k\n\n"
        f"get {prefix}k\n\n"
    )
    first = cluster.etcdctl("txn", "--interactive", at=at, stdin=question).stdout
    assert "SUCCESS" in first
    assert first.rstrip().endswith(f"{prefix}k\n2")
    second = cluster.etcdctl("txn", "--interactive", at=at, stdin=question).stdout
    assert "FAILURE" in second


@pytest.mark.parametrize("at", MEMBERS)
def test_leases_are_granted_kept_alive_listed_and_revoked(
    cluster: StoreCluster, at: str, prefix: str
) -> None:
    granted = cluster.etcdctl("lease", "grant", "300", at=at).stdout.split()
    lease = granted[1]
    assert granted[2:] == ["granted", "with", "TTL(300s)"]
    cluster.etcdctl("put", prefix + "k", "v", f"--lease={lease}", at=at)
    assert lease in cluster.etcdctl("lease", "list", at=at).stdout
    left = cluster.etcdctl_json("lease", "timetolive", lease, "--keys", at=at)
    assert 290 <= left["ttl"] <= 300
    assert len(left["keys"]) == 1
    once = cluster.etcdctl("lease", "keep-alive", "--once", lease, at=at).stdout
    assert once == f"lease {lease} keepalived with TTL(300)\n"
    assert cluster.etcdctl("lease", "revoke", lease, at=at).stdout == f"lease {lease} revoked\n"
    assert cluster.etcdctl("get", prefix + "k", at=at).stdout == ""
    gone = cluster.etcdctl("lease", "revoke", lease, at=at, check=False)
    assert "etcdserver: requested lease not found" in gone.stderr


def test_a_lease_that_nobody_keeps_alive_expires_on_all_members(
    cluster: StoreCluster, prefix: str
) -> None:
    lease = cluster.etcdctl("lease", "grant", "2", at="store-1").stdout.split()[1]
    cluster.etcdctl("put", prefix + "k", "v", f"--lease={lease}", at="store-2")
    began = time.monotonic()
    for at in MEMBERS:
        wait_until(partial(is_gone, cluster, prefix + "k", at), "expiry")
    assert 1.0 < time.monotonic() - began < 8.0


def test_a_lease_lives_as_long_as_it_is_kept_alive(cluster: StoreCluster, prefix: str) -> None:
    lease = cluster.etcdctl("lease", "grant", "2", at="store-1").stdout.split()[1]
    cluster.etcdctl("put", prefix + "k", "v", f"--lease={lease}", at="store-2")
    keeper = subprocess.Popen(
        [str(TOOLS / "etcdctl"), "lease", "keep-alive", lease],
        env=cluster.environment(cluster.followers()[0]),
        stdout=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 5.0
        while time.monotonic() < end:
            assert cluster.etcdctl("get", prefix + "k", at="store-0").stdout
            time.sleep(0.3)
    finally:
        keeper.send_signal(signal.SIGINT)
        keeper.wait(10)
    wait_until(lambda: not cluster.etcdctl("get", prefix + "k").stdout, "expiry")


class Watch:
    """`etcdctl watch` as a process."""

    def __init__(self, cluster: StoreCluster, at: str, file: Path, *arguments: str) -> None:
        self._file = file
        with file.open("wb") as out:
            self._process = subprocess.Popen(
                [str(TOOLS / "etcdctl"), "watch", *arguments, "-w", "json"],
                env=cluster.environment(at),
                stdout=out,
                stderr=out,
            )

    def events(self) -> list[dict[str, Any]]:
        responses = [json.loads(line) for line in self._file.read_text().splitlines() if line]
        return [event for response in responses for event in response.get("Events", ())]

    def text(self) -> str:
        return self._file.read_text()

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


@pytest.mark.parametrize("at", MEMBERS)
def test_watch_replays_history_and_follows(
    cluster: StoreCluster, at: str, prefix: str, tmp_path: Path
) -> None:
    cluster.etcdctl("put", prefix + "a", "1")
    start = revision(cluster, at)
    cluster.etcdctl("put", prefix + "a", "2")
    watch = Watch(
        cluster, at, tmp_path / "watch", prefix, "--prefix", "--prev-kv", f"--rev={start}"
    )
    try:
        wait_until(lambda: len(watch.events()) == 2, "history")
        cluster.etcdctl("put", prefix + "b", "1")
        cluster.etcdctl("del", prefix + "a")
        wait_until(lambda: len(watch.events()) == 4, "live events")
        events = watch.events()
        revisions = [event["kv"]["mod_revision"] for event in events]
        assert revisions == [start, start + 1, start + 2, start + 3]
        assert [event.get("type", 0) for event in events] == [0, 0, 0, 1]
        assert "prev_kv" not in events[0]
        assert events[1]["prev_kv"]["mod_revision"] == start
        assert events[3]["prev_kv"]["mod_revision"] == start + 1
    finally:
        watch.close()


def test_watch_from_a_compacted_revision_is_cancelled(
    cluster: StoreCluster, prefix: str, tmp_path: Path
) -> None:
    cluster.etcdctl("put", prefix + "a", "1")
    cluster.etcdctl("put", prefix + "a", "2")
    now = revision(cluster, "store-0")
    cluster.etcdctl("compact", str(now))
    watch = Watch(cluster, "store-1", tmp_path / "watch", prefix, "--prefix", "--rev=2")
    try:
        wait_until(lambda: "has been compacted" in watch.text(), "cancellation")
    finally:
        watch.close()


def test_endpoint_status_health_and_member_list(cluster: StoreCluster) -> None:
    table = cluster.etcdctl("endpoint", "status", "-w", "table").stdout
    assert all(cluster.client_url(name) in table for name in cluster.names)
    statuses = cluster.etcdctl_json("endpoint", "status")
    leaders = {entry["Status"]["leader"] for entry in statuses}
    members = {entry["Status"]["header"]["member_id"] for entry in statuses}
    assert len(leaders) == 1
    assert leaders <= members
    assert len(members) == 3
    health = cluster.etcdctl("endpoint", "health", "-w", "json")
    assert [entry["health"] for entry in json.loads(health.stdout)] == [True, True, True]
    listed = cluster.etcdctl_json("member", "list")["members"]
    assert sorted(member["name"] for member in listed) == list(cluster.names)
    assert sorted(member["clientURLs"][0] for member in listed) == sorted(
        map(cluster.client_url, cluster.names)
    )


def test_hashes_of_all_members_agree(cluster: StoreCluster, prefix: str) -> None:
    cluster.etcdctl("put", prefix + "a", "1")
    now = revision(cluster, "store-0")
    # A linearizable read first, so that every member has applied it.
    for name in cluster.names:
        revision(cluster, name)
    hashes = cluster.etcdctl_json("endpoint", "hashkv", f"--rev={now}")
    assert len({entry["HashKV"]["hash"] for entry in hashes}) == 1


def test_an_api_client_certificate_is_refused(cluster: StoreCluster) -> None:
    refused = subprocess.run(
        [
            *(str(TOOLS / "etcdctl"), "get", "k", "--command-timeout=2s"),
            *("--endpoints", cluster.client_urls, "--cacert", str(cluster.pki / "ca.crt")),
            *("--cert", str(cluster.pki / "admin.crt"), "--key", str(cluster.pki / "admin.key")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
