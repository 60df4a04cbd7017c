"""The Python client etcd3gw, unchanged: the JSON gateway over mutual TLS, at three members."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import etcd3gw
import pytest
from etcd3gw.exceptions import Etcd3Exception, WatchTimedOut

from tests.e2e.store_cluster import StoreCluster, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("etcd3gw")]

WAIT_S = 30


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    with StoreCluster(tmp_path_factory.mktemp("etcd3gw"), members=3) as cluster:
        cluster.start()
        cluster.wait_ready()
        yield cluster


@pytest.fixture(autouse=True)
def _only_our_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    # With these `requests` does not look at the certificates that a client names.
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)


def client_of(cluster: StoreCluster, name: str = "store-0", **more: Any) -> etcd3gw.Etcd3Client:
    host, _, port = cluster.address(name).rpartition(":")
    return etcd3gw.client(
        host=host,
        port=int(port),
        protocol="https",
        ca_cert=str(cluster.pki / "ca.crt"),
        cert_cert=str(cluster.pki / "store-client.crt"),
        cert_key=str(cluster.pki / "store-client.key"),
        **{"timeout": WAIT_S, **more},
    )


@pytest.fixture
def client(cluster: StoreCluster) -> Iterator[etcd3gw.Etcd3Client]:
    client = client_of(cluster)
    yield client
    client.session.close()


def test_status_and_members(cluster: StoreCluster, client: etcd3gw.Etcd3Client) -> None:
    assert client.api_path == "/v3/"
    assert int(client.status()["header"]["member_id"])
    names = sorted(cluster.names)  # each is known once its member has published it
    wait_until(lambda: sorted(m.get("name", "") for m in client.members()) == names, "all names")


def test_keys(cluster: StoreCluster, client: etcd3gw.Etcd3Client) -> None:
    assert client.put("keys/a", "é<&>".encode())
    assert client.put("keys/b", b"\x00\xff")
    assert client.get("keys/a") == ["é<&>".encode()]
    other = client_of(cluster, "store-1")
    ((value, details),) = other.get("keys/b", metadata=True)
    assert (value, details["key"], details["version"]) == (b"\x00\xff", b"keys/b", "1")
    found = client.get_prefix("keys/", sort_order="descend", sort_target="key")
    assert [details["key"] for _, details in found] == [b"keys/b", b"keys/a"]
    assert client.delete("keys/a")
    assert not client.delete("keys/a")
    assert client.delete_prefix("keys/")
    assert client.get("keys/b") == []
    other.session.close()


def test_large_value(client: etcd3gw.Etcd3Client) -> None:
    value = bytes(range(256)) * 4096
    client.put("large", value)
    assert client.get("large") == [value]
    with pytest.raises(Etcd3Exception):
        client.put("too-large", bytes(1600 << 10))


def test_transactions(client: etcd3gw.Etcd3Client) -> None:
    assert client.create("txn/a", "1")
    assert not client.create("txn/a", "2")
    assert client.replace("txn/a", "1", "3")
    assert not client.replace("txn/a", "1", "4")
    assert client.get("txn/a") == [b"3"]


def test_leases(client: etcd3gw.Etcd3Client) -> None:
    lease = client.lease(ttl=60)
    client.put("leased", "x", lease=lease)
    assert lease.keys() == [b"leased"]
    assert 0 < lease.ttl() <= 60
    assert lease.refresh() == 60
    assert lease.revoke()
    assert client.get("leased") == []
    assert lease.refresh() == -1


def test_locks_keep_others_out(cluster: StoreCluster, client: etcd3gw.Etcd3Client) -> None:
    other = client_of(cluster, "store-2")
    with client.lock("mutex", ttl=60) as lock:
        assert lock.is_acquired()
        assert lock.refresh() == 60
        rival = other.lock("mutex", ttl=60)
        assert not rival.acquire()
    assert not lock.is_acquired()
    assert rival.acquire()
    assert rival.release()
    other.session.close()


def test_watch_tells_of_events(cluster: StoreCluster, client: etcd3gw.Etcd3Client) -> None:
    writer = client_of(cluster, "store-1")
    events, cancel = client.watch_prefix("watched/")
    seen: list[Any] = []

    def follow() -> None:
        seen.extend((event["kv"]["key"], event.get("type")) for event in events)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        wanted = [(b"watched/a", None), (b"watched/b", None), (b"watched/a", "DELETE")]
        writer.put("watched/a", "1")
        writer.put("watched/b", "2")
        writer.delete("watched/a")
        wait_until(lambda: len(seen) >= len(wanted), "three events")
        assert seen == wanted
    finally:
        cancel()
        thread.join(WAIT_S)
    assert not thread.is_alive()
    writer.session.close()


def test_watch_once_gives_up_in_time(client: etcd3gw.Etcd3Client) -> None:
    with pytest.raises(WatchTimedOut):
        client.watch_once("nothing-happens", timeout=1)


def test_client_without_certificate_is_kept_out(cluster: StoreCluster) -> None:
    bare = etcd3gw.client(
        host="127.0.0.1",
        port=int(cluster.address("store-0").rpartition(":")[2]),
        protocol="https",
        ca_cert=str(cluster.pki / "ca.crt"),
        timeout=WAIT_S,
    )
    with pytest.raises(Etcd3Exception):
        bare.status()
    bare.session.close()
