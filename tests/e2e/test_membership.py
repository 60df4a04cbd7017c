"""Members added, promoted, moved, removed and replaced with the real etcdctl."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.store_cluster import StoreCluster, wait_until

pytestmark = pytest.mark.e2e


# As with etcd 3.5.1, of which this list was tried too.
REFUSED_BY_LEARNERS = (
    ("put", "a", "b"),
    ("get", "a"),
    ("del", "a"),
    ("compact", "2"),
    ("lease", "grant", "5"),
    ("lease", "keep-alive", "--once", "5"),
    ("lease", "list"),
    ("member", "list"),
    ("user", "list"),
    ("alarm", "list"),
    ("endpoint", "hashkv"),
    ("defrag",),
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StoreCluster]:
    # A short log, so that a newcomer gets a snapshot and what came behind it.
    flags = ("--snapshot-count", "10", "--heartbeat-interval", "50", "--election-timeout", "500")
    with StoreCluster(tmp_path, spares=2, tls=False, flags=flags) as cluster:
        cluster.start()
        cluster.wait_ready()
        for number in (0, 10, 20, 30):
            cluster.etcdctl("put", f"key-{number}", f"value {number}")
        yield cluster


def member_ids(cluster: StoreCluster, at: str) -> dict[str, str]:
    """Ids in hexadecimal by peer URL."""
    listed = cluster.etcdctl_json("member", "list", at=at)["members"]
    return {member["peerURLs"][0]: f"{member['ID']:x}" for member in listed}


def refusal(cluster: StoreCluster, *arguments: str, at: str) -> str:
    done = cluster.etcdctl(*arguments, at=at, check=False)
    assert done.returncode != 0
    return done.stderr


def is_unsupported(cluster: StoreCluster, *call: str) -> bool:
    return "etcdserver: rpc not supported for learner" in refusal(cluster, *call, at="store-3")


def put_works(cluster: StoreCluster, at: str) -> bool:
    return cluster.etcdctl("put", "probe", at, at=at, check=False).returncode == 0


def value(cluster: StoreCluster, key: str, at: str, *flags: str) -> str:
    return cluster.etcdctl("get", key, "--print-value-only", *flags, at=at).stdout.strip()


def test_learner_joins_catches_up_and_is_promoted(cluster: StoreCluster) -> None:
    follower = cluster.followers()[0]
    for _ in range(30):
        put_works(cluster, follower)
    url = cluster.peer_url("store-3")
    added = cluster.etcdctl(
        "member", "add", "store-3", "--learner", "--peer-urls", url, at=follower
    )
    assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in added.stdout
    learner = member_ids(cluster, follower)[url]
    promote = ("member", "promote", learner)
    not_in_sync = "etcdserver: can only promote a learner member which is in sync with leader"
    assert not_in_sync in refusal(cluster, *promote, at=follower)
    again = refusal(cluster, "member", "add", "x", "--peer-urls", url, at=follower)
    assert "etcdserver: Peer URLs already exists" in again
    other = ("member", "add", "y", "--learner", "--peer-urls", cluster.peer_url("store-4"))
    too_many = refusal(cluster, *other, at=cluster.leader())
    assert "etcdserver: too many learner members in cluster" in too_many

    cluster.join("store-3")
    cluster.start("store-3")
    cluster.wait_ready("store-3")
    wait_until(
        lambda: value(cluster, "key-30", "store-3", "--consistency=s") == "value 30", "caught up"
    )
    assert cluster.status("store-3").isLearner
    for call in REFUSED_BY_LEARNERS:
        # An etcdctl that is still sending says EOF: with etcd's learners too.
        wait_until(partial(is_unsupported, cluster, *call), f"{call} refused by a learner")
    cluster.etcdctl("endpoint", "status", at="store-3")
    cluster.etcdctl("snapshot", "save", str(cluster.directory / "of-a-learner"), at="store-3")
    wait_until(
        lambda: cluster.etcdctl(*promote, at=follower, check=False).returncode == 0, "promoted"
    )
    wait_until(partial(put_works, cluster, "store-3"), "the promoted member takes writes")
    assert not cluster.status("store-3").isLearner
    only = refusal(cluster, *promote, at=follower)
    assert "etcdserver: can only promote a learner member" in only

    # It counts, and finds its cluster again after a cold start of all.
    cluster.kill()
    cluster.start()
    cluster.wait_ready()
    wait_until(partial(put_works, cluster, "store-3"), "writes after a cold start")
    survivor = cluster.followers()[0]
    cluster.kill(cluster.leader())
    wait_until(partial(put_works, cluster, survivor), "writes with three of four")


def test_wiped_member_is_replaced_by_remove_and_add(cluster: StoreCluster) -> None:
    victim, witness = cluster.followers()
    old = member_ids(cluster, witness)[cluster.peer_url(victim)]
    cluster.kill(victim)
    shutil.rmtree(cluster.data_dir(victim))
    cluster.etcdctl("member", "remove", old, at=witness)
    assert "etcdserver: member not found" in refusal(cluster, "member", "remove", old, at=witness)
    cluster.etcdctl("member", "add", victim, "--peer-urls", cluster.peer_url(victim), at=witness)
    assert member_ids(cluster, witness)[cluster.peer_url(victim)] != old
    cluster.join(victim)
    cluster.start(victim)
    cluster.wait_ready(victim)
    wait_until(partial(put_works, cluster, victim), "the new member takes writes")
    assert value(cluster, "key-30", victim) == "value 30"
    hashes = {entry["HashKV"]["hash"] for entry in hash_kv(cluster)}
    assert len(hashes) == 1


def hash_kv(cluster: StoreCluster) -> list[dict[str, dict[str, int]]]:
    revision = cluster.etcdctl_json("get", "none")["header"]["revision"]
    answer = cluster.etcdctl_json("endpoint", "hashkv", "--rev", str(revision))
    assert isinstance(answer, list)
    return answer


def test_wiped_member_does_not_vote_again_under_its_old_flags(cluster: StoreCluster) -> None:
    victim = "store-1"
    cluster.kill(victim)
    shutil.rmtree(cluster.data_dir(victim))
    cluster.start(victim)
    wait_until(lambda: not cluster.is_running(victim), "refused")
    last = cluster.log_file(victim).read_text().strip().splitlines()[-1]
    assert last.startswith("store: --initial-cluster-state new: member ")
    assert "has already been bootstrapped, but --data-dir" in last
    assert "etcdctl member remove" in last
    wait_until(partial(put_works, cluster, "store-0"), "the others go on")


def test_founder_that_comes_late_is_let_in(tmp_path: Path) -> None:
    with StoreCluster(tmp_path, members=3) as cluster:
        for founder in ("store-2", "store-0"):
            cluster.start(founder)
        wait_until(partial(put_works, cluster, "store-0"), "two make a quorum")
        cluster.kill("store-0")  # what it met in that run is forgotten
        cluster.start("store-0")
        cluster.start("store-1")
        wait_until(partial(put_works, cluster, "store-1"), "the third takes part")


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
def test_removed_member_stops_and_says_why(cluster: StoreCluster, *, leads: bool) -> None:
    leader = cluster.leader()
    gone = leader if leads else cluster.followers()[0]
    witness = next(name for name in cluster.names if name != gone)
    member = member_ids(cluster, witness)[cluster.peer_url(gone)]
    done = cluster.etcdctl("member", "remove", member, at=witness)
    assert f"Member {member:>16} removed from cluster".split() == done.stdout.split()[:5]
    wait_until(lambda: not cluster.is_running(gone), f"{gone} stopped")
    told = "the member has been permanently removed from the cluster"
    assert told in cluster.log_file(gone).read_text()
    assert "Traceback" not in cluster.log_file(gone).read_text()
    cluster.leave(gone)
    assert put_works(cluster, witness)
    assert sorted(member_ids(cluster, witness)) == sorted(map(cluster.peer_url, cluster.names))


def test_changes_that_would_lose_the_quorum_are_refused(cluster: StoreCluster) -> None:
    victim, witness = cluster.followers()
    ids = member_ids(cluster, witness)
    cluster.kill(victim)
    unhealthy = "etcdserver: unhealthy cluster"
    remove = ("member", "remove", ids[cluster.peer_url(cluster.leader())])
    # Silence is noticed after an election timeout.
    wait_until(
        lambda: unhealthy in cluster.etcdctl(*remove, at=witness, check=False).stderr,
        "the removal of a member that is up is refused",
        timeout_s=5,
    )
    add = ("member", "add", "store-3", "--peer-urls", cluster.peer_url("store-3"))
    assert unhealthy in refusal(cluster, *add, at=witness)
    cluster.start(victim)
    cluster.wait_ready(victim)
    wait_until(
        lambda: cluster.etcdctl(*add, at=witness, check=False).returncode == 0, "healed and added"
    )
    # One that waits for its first start does not answer either.
    second = ("member", "add", "store-4", "--peer-urls", cluster.peer_url("store-4"))
    assert unhealthy in refusal(cluster, *second, at=witness)
    bad = refusal(cluster, "member", "add", "z", "--peer-urls", "http://127.0.0.1", at=witness)
    assert "etcdserver: given member URLs are invalid" in bad or "URL" in bad


def test_member_moves_to_another_peer_url(cluster: StoreCluster) -> None:
    mover, witness = cluster.followers()
    member = member_ids(cluster, witness)[cluster.peer_url(mover)]
    taken = cluster.peer_url(witness)
    exists = refusal(cluster, "member", "update", member, "--peer-urls", taken, at=witness)
    assert "etcdserver: Peer URLs already exists" in exists
    cluster.terminate(mover)
    cluster.move(mover)
    url = cluster.peer_url(mover)
    cluster.etcdctl("member", "update", member, "--peer-urls", url, at=witness)
    assert member_ids(cluster, witness)[url] == member
    cluster.join(mover)
    cluster.start(mover)
    cluster.wait_ready(mover)
    wait_until(partial(put_works, cluster, mover), "the moved member takes writes")
    assert f"{cluster.status(mover).header.member_id:x}" == member


def test_stranger_is_told_to_be_added_first(cluster: StoreCluster) -> None:
    cluster.join("store-3")
    cluster.start("store-3")
    wait_until(lambda: not cluster.is_running("store-3"), "refused")
    last = cluster.log_file("store-3").read_text().strip().splitlines()[-1]
    assert last.startswith("store: --initial-cluster-state existing: the cluster has no member at")
