"""The store over TLS with client certificates, with a real etcd; and what is said of wrong ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from apiserver.storage.endpoints import Endpoints, StoreTls
from apiserver.storage.etcd_store import EtcdStore
from kubraft.api.errors import ServiceUnavailableError
from kubraft.pb.etcdserverpb import rpc_pb2 as rpc
from kubraft.pki import make_pki
from tests.conformance.storage.etcd import find_etcd, running_etcd


class Secured(NamedTuple):
    url: str
    pki: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if find_etcd() is None:
        pytest.skip("there is no etcd executable")
    folder = tmp_path_factory.mktemp("etcd-tls")
    pki = folder / "pki"
    pki.mkdir()
    make_pki(pki, members=["e0"], nodes=[], now=dt.datetime.now(dt.UTC))
    served = ("--cert-file", f"{pki}/e0-server.crt", "--key-file", f"{pki}/e0-server.key")
    flags = (*served, "--trusted-ca-file", f"{pki}/store-ca.crt", "--client-cert-auth")
    with running_etcd(folder, tls=flags) as url:
        yield Secured(url, pki)


def tls_of(pki: Path, authority: str, client: str) -> StoreTls:
    return StoreTls(pki / f"{authority}.crt", pki / f"{client}.crt", pki / f"{client}.key")


async def test_a_client_with_its_certificate_writes_reads_and_watches(secured: Secured) -> None:
    tls = tls_of(secured.pki, "ca", "store-client")
    store = EtcdStore(Endpoints([secured.url], tls))
    revision = await store.create("/registry/a", bytes(200_000))
    found = await store.find("/registry/a")
    assert found is not None
    assert (len(found.value), found.mod_revision) == (200_000, revision)
    async for batch in store.watch("/registry/", after=revision - 1):
        assert [event.key for event in batch.events] == ["/registry/a"]
        break
    await store.close()


@pytest.mark.parametrize(
    ("authority", "client", "cause"),
    [
        pytest.param("store-ca", "store-client", "certificate verify failed", id="unknown-server"),
        pytest.param("ca", "admin", "bad certificate|connection lost", id="unknown-client"),
    ],
)
async def test_certificates_that_do_not_fit_are_said_to_be_why(
    secured: Secured, authority: str, client: str, cause: str
) -> None:
    endpoints = Endpoints([secured.url], tls_of(secured.pki, authority, client))
    with pytest.raises(ServiceUnavailableError, match=f"{secured.url}: .*({cause})"):
        await endpoints.call(lambda e: e.kv.Range, rpc.RangeRequest(key=b"a"), budget_s=1.0)
    await endpoints.close()


def test_files_that_are_no_certificates_are_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(OSError):  # noqa: PT011 - the library's words
        Endpoints(["https://127.0.0.1:1"], tls_of(tmp_path, "ca", "ca"))
