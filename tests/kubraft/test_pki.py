from __future__ import annotations

import datetime as dt
import socket
import ssl
import stat
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from kubraft.credentials import make_credentials
from kubraft.home import MARK_FILE, Home, HomeError
from kubraft.pki import PkiError, make_pki

NOW = dt.datetime.now(dt.UTC)
MEMBERS = ("store-0", "store-1")
NODES = ("node-0",)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    make_pki(directory, members=MEMBERS, nodes=NODES, now=NOW)
    return directory


def make(directory: Path, now: dt.datetime = NOW) -> list[str]:
    directory.mkdir(exist_ok=True)
    return make_pki(directory, members=MEMBERS, nodes=NODES, now=now)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


class Case(NamedTuple):
    """Who connects to whom, the authority each side trusts, and the name the client expects."""

    server: str
    client: str | None
    clients_of: str
    servers_of: str
    name: str = "localhost"


def handshake(pki: Path, case: Case) -> str:
    """Shake hands over a socket pair; the answer is what the server reads, or raises."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(pki / f"{case.server}.crt", pki / f"{case.server}.key")
    server_context.load_verify_locations(pki / f"{case.clients_of}.crt")
    server_context.verify_mode = ssl.CERT_REQUIRED if case.client else ssl.CERT_NONE
    client_context = ssl.create_default_context(cafile=str(pki / f"{case.servers_of}.crt"))
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    if case.client:
        client_context.load_cert_chain(pki / f"{case.client}.crt", pki / f"{case.client}.key")
    left, right = socket.socketpair()
    left.settimeout(10)
    right.settimeout(10)
    failures: list[Exception] = []

    def talk() -> None:
        try:
            with client_context.wrap_socket(right, server_hostname=case.name) as tls:
                tls.sendall(b"hello")
                tls.recv(1)
        except OSError as error:
            failures.append(error)
            right.close()

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        with server_context.wrap_socket(left, server_side=True) as tls:
            return tls.recv(5).decode()
    finally:
        left.close()
        thread.join()
        if failures and isinstance(failures[0], ssl.SSLCertVerificationError):
            raise failures[0]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case("apiserver", None, "ca", "ca", "127.0.0.1"), id="token user at the API"),
        pytest.param(Case("apiserver", "admin", "ca", "ca"), id="admin at the API"),
        pytest.param(
            Case("apiserver", "node-0", "ca", "ca", "kubernetes.default.svc"), id="node at the API"
        ),
        pytest.param(
            Case("store-0-server", "store-client", "store-ca", "ca"), id="etcdctl at a member"
        ),
        pytest.param(
            Case("store-0-peer", "store-1-peer", "store-ca", "store-ca", "store-0"), id="two peers"
        ),
        pytest.param(
            Case("node-0-server", "apiserver-kubelet-client", "ca", "ca", "node-0"),
            id="the API at a node",
        ),
    ],
)
def test_who_belongs_together_shakes_hands(pki: Path, case: Case) -> None:
    assert handshake(pki, case) == "hello"


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case("store-0-server", "admin", "store-ca", "ca"), id="admin at the store"),
        pytest.param(Case("store-0-server", "apiserver", "store-ca", "ca"), id="server as client"),
        pytest.param(Case("store-0-peer", "admin", "store-ca", "store-ca"), id="admin as a peer"),
        pytest.param(Case("apiserver", "store-client", "ca", "ca"), id="store client at the API"),
        pytest.param(Case("apiserver", "store-0-server", "ca", "ca"), id="member at the API"),
        pytest.param(Case("apiserver", "admin", "ca", "store-ca"), id="unknown server"),
        pytest.param(Case("apiserver", "admin", "ca", "ca", "example.com"), id="another name"),
    ],
)
def test_who_does_not_belong_is_refused(pki: Path, case: Case) -> None:
    with pytest.raises(ssl.SSLError):
        handshake(pki, case)


@pytest.mark.parametrize(
    ("name", "user", "groups"),
    [
        ("admin", "kubernetes-admin", ["system:masters"]),
        ("scheduler", "system:kube-scheduler", []),
        ("controller-manager", "system:kube-controller-manager", []),
        ("node-0", "system:node:node-0", ["system:nodes"]),
        ("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"]),
    ],
)
def test_a_subject_is_a_user_and_its_groups(
    pki: Path, name: str, user: str, groups: list[str]
) -> None:
    subject = certificate(pki / f"{name}.crt").subject
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [user]
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == groups


def test_all_files_are_the_users_alone(pki: Path) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in pki.iterdir()} == {0o600}
    assert len(list(pki.glob("*.key"))) == len(list(pki.glob("*.crt"))) + 1  # sa.key


def test_making_it_twice_changes_nothing(tmp_path: Path) -> None:
    assert "ca" in make(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert make(tmp_path) == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_node_gets_its_own_from_the_same_authority(tmp_path: Path) -> None:
    make(tmp_path)
    made = make_pki(tmp_path, members=MEMBERS, nodes=("node-0", "node-1"), now=NOW)
    assert made == ["node-1", "node-1-server"]


def test_what_ends_soon_is_renewed_and_authorities_stay(tmp_path: Path) -> None:
    make(tmp_path)
    made = make(tmp_path, NOW + dt.timedelta(days=340))
    assert "admin" in made
    assert "store-0-peer" in made
    assert not {"ca", "store-ca", "sa"} & set(made)


def test_a_key_that_was_lost_is_made_again(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "admin.key").unlink()
    assert make(tmp_path) == ["admin"]


def test_a_foreign_certificate_is_named(tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two")
    (tmp_path / "one" / "admin.crt").write_bytes((tmp_path / "two" / "admin.crt").read_bytes())
    with pytest.raises(PkiError, match=r"admin.crt was not signed by CN=kubraft-ca"):
        make(tmp_path / "one")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("ca.crt", "ca.crt holds no certificate"),
        ("ca.key", "ca.key holds no private key"),
        ("store-ca.key", "store-ca.key holds no private key"),
    ],
)
def test_a_damaged_authority_is_named(tmp_path: Path, file: str, message: str) -> None:
    make(tmp_path)
    (tmp_path / file).write_text("scribble")
    with pytest.raises(PkiError, match=message):
        make(tmp_path)


def test_the_key_of_another_authority_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "ca.key").write_bytes((tmp_path / "store-ca.key").read_bytes())
    with pytest.raises(PkiError, match=r"ca.key is not the key of .*ca.crt"):
        make(tmp_path)


def test_the_service_account_keys_belong_together(pki: Path) -> None:
    private = serialization.load_pem_private_key((pki / "sa.key").read_bytes(), password=None)
    public = serialization.load_pem_public_key((pki / "sa.pub").read_bytes())
    assert private.public_key() == public


def test_credentials_are_private_and_the_token_stays(tmp_path: Path) -> None:
    home = Home(tmp_path)
    make(home.pki)
    make_credentials(home, "https://127.0.0.1:6443")
    token = home.token_file.read_text().strip()
    key = home.encryption_config.read_text()
    make_credentials(home, "https://127.0.0.1:6443")
    assert home.encryption_config.read_text() == key
    assert home.token_file.read_text().strip() == token
    assert len(token) > 40
    assert home.token_auth_file.read_text() == (
        f'{token},kubernetes-admin,kubernetes-admin,"system:masters"\n'
    )
    private = (home.token_file, home.token_auth_file, home.kubeconfig, home.encryption_config)
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = yaml.safe_load(home.kubeconfig.read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert config["current-context"] == "kubraft"


def test_a_lost_key_of_a_store_with_data_is_not_replaced_in_silence(tmp_path: Path) -> None:
    home = Home(tmp_path)
    make(home.pki)
    home.data("store-0").mkdir(parents=True)
    (home.data("store-0") / MARK_FILE).write_text("abc\n")
    make_credentials(home, "https://127.0.0.1:6443")  # prepared, never started
    home.encryption_config.unlink()
    (home.data("store-0") / "wal").mkdir()
    with pytest.raises(HomeError, match=r"encryption.yaml is lost, and the store has data"):
        make_credentials(home, "https://127.0.0.1:6443")
    assert not home.encryption_config.exists()
    home.encryption_config.touch()  # as the message says
    make_credentials(home, "https://127.0.0.1:6443")
    assert "aesgcm" in home.encryption_config.read_text()
    assert stat.S_IMODE(home.encryption_config.stat().st_mode) == 0o600
