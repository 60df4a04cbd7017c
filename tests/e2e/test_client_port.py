"""The client port over TLS and with etcd's flags for it: who may come, and in which protocol."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from hpack import Decoder, Encoder

from kubraft.grpc_server import frames as f
from tests.e2e.store_cluster import StoreCluster

pytestmark = pytest.mark.e2e


def ask(
    cluster: StoreCluster, path: str, body: str = "", *, method: str = "", **headers: str
) -> tuple[int, dict[str, str], str]:
    place = cluster.address("store-0")
    connection = (
        http.client.HTTPSConnection(place, timeout=30, context=client_context(cluster))
        if cluster.tls
        else http.client.HTTPConnection(place, timeout=30)
    )
    try:
        connection.request(method or ("POST" if body else "GET"), path, body or None, headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read().decode()
    finally:
        connection.close()


def client_context(cluster: StoreCluster, *, certificate: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
    if certificate:
        context.load_cert_chain(cluster.pki / "store-client.crt", cluster.pki / "store-client.key")
    return context


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreCluster]:
    with StoreCluster(
        tmp_path_factory.mktemp("secure"), members=1, flags=["--bcrypt-cost=4"]
    ) as cluster:
        cluster.start()
        cluster.wait_ready()
        yield cluster


def over_http2(cluster: StoreCluster, path: str) -> tuple[str, bytes]:
    """GET by ALPN `h2`: status and body."""
    context = client_context(cluster)
    context.set_alpn_protocols(["h2"])
    host, _, port = cluster.address("store-0").rpartition(":")
    fields = [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", host)]
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
        connection.makefile("rb") as stream,
    ):
        assert connection.selected_alpn_protocol() == "h2"
        ask = f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, Encoder().encode(fields))
        connection.sendall(f.PREFACE + f.settings({}) + ask)
        status, body = "", b""
        while True:
            head = stream.read(f.HEAD_BYTES)
            data = stream.read(int.from_bytes(head[:3], "big"))
            if head[3] == f.HEADERS:
                status = {str(n): str(v) for n, v in Decoder().decode(data)}[":status"]
            elif head[3] == f.DATA:
                body += data
                if head[4] & f.END_STREAM:
                    return status, body


def test_both_versions_of_http_and_grpc_share_the_port(secure: StoreCluster) -> None:
    assert over_http2(secure, "/health") == ("200", b'{"health":"true","reason":""}')
    assert ask(secure, "/health")[2] == '{"health":"true","reason":""}'
    put = ask(secure, "/v3/kv/put", '{"key":"Zm9v","value":"YmFy"}')
    assert put[0] == 200
    assert secure.etcdctl("get", "foo", "--print-value-only").stdout == "bar\n"


def test_without_a_certificate_nothing_is_said(secure: StoreCluster) -> None:
    context = client_context(secure, certificate=False)
    place = secure.address("store-0")
    connection = http.client.HTTPSConnection(place, timeout=30, context=context)
    try:
        with pytest.raises((OSError, http.client.HTTPException)):
            answer_of(connection, "/health")
    finally:
        connection.close()


def answer_of(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    return connection.getresponse().status


def test_names_of_certificates_do_not_count_on_the_gateway(secure: StoreCluster) -> None:
    for command in (("user", "add", "root:r"), ("user", "grant-role", "root", "root")):
        secure.etcdctl(*command)
    secure.etcdctl("auth", "enable")
    try:
        refused = ask(secure, "/v3/kv/range", '{"key":"Zm9v"}')
        assert refused[0] == 400
        assert refused[2].startswith("CommonName of client sending a request against gateway")
        assert ask(secure, "/health")[0] == 200
    finally:
        secure.etcdctl("auth", "disable", "--user", "root:r")


def served(directory: Path, *flags: str) -> StoreCluster:
    cluster = StoreCluster(directory, members=1, tls=False, flags=flags)
    cluster.start()
    cluster.wait_ready()
    return cluster


def test_origins_and_hosts_are_those_of_the_flags(tmp_path: Path) -> None:
    with served(
        tmp_path, "--cors", "http://a,http://b", "--host-whitelist", "127.0.0.1,me"
    ) as cluster:
        allowed = "access-control-allow-origin"
        assert ask(cluster, "/health", Origin="http://b")[1][allowed] == "http://b"
        assert allowed not in ask(cluster, "/health", Origin="http://c")[1]
        assert ask(cluster, "/v3/kv/put", method="OPTIONS", Origin="http://a")[0] == 200
        assert ask(cluster, "/health", Host="me:2379")[0] == 200
        status, _, text = ask(cluster, "/health", Host="evil")
        assert (status, "CVE-2018-5702" in text) == (421, True)


def test_gateway_can_be_off(tmp_path: Path) -> None:
    with served(tmp_path, "--enable-grpc-gateway=false") as cluster:
        assert ask(cluster, "/v3/kv/range", '{"key":"Zm9v"}')[0] == 404
        assert json.loads(ask(cluster, "/version")[2])["etcdserver"]


def test_paths_are_cleaned_by_a_redirection(tmp_path: Path) -> None:
    with served(tmp_path) as cluster:
        for path, place in (
            ("//health?a=1", "/health?a=1"),
            ("/v3/../version", "/version"),
            ("/v3//kv/put", "/v3/kv/put"),
        ):
            status, headers, _ = ask(cluster, path)
            assert (status, headers["location"]) == (301, place)
