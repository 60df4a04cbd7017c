"""Users, roles and tokens with the real etcdctl, by password, by JWT and by certificate."""

import datetime as dt
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e.store_cluster import StoreCluster, wait_until

pytestmark = pytest.mark.e2e

ROOT = ("--user", "root:secret")
ANN = ("--user", "ann:pass")


def set_up(cluster: StoreCluster) -> None:
    """Root, ann who may read and write `app/`, and authentication switched on."""
    for command in (
        ("user", "add", "root:secret"),
        ("role", "add", "root"),
        ("user", "grant-role", "root", "root"),
        ("user", "add", "ann:pass"),
        ("role", "add", "app"),
        ("role", "grant-permission", "app", "readwrite", "app/", "--prefix"),
        ("user", "grant-role", "ann", "app"),
        ("auth", "enable"),
    ):
        cluster.etcdctl(*command)
    cluster.log_in = ("root", "secret")


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    return done.stderr


def jwt_key(directory: Path) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = directory / "jwt.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture(scope="module", params=["simple", "jwt"])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StoreCluster]:
    directory = tmp_path_factory.mktemp("auth")
    flags: tuple[str, ...] = ("--snapshot-count=50", "--bcrypt-cost=4")
    if request.param == "jwt":
        flags += ("--auth-token", f"jwt,sign-method=RS256,ttl=5m,priv-key={jwt_key(directory)}")
    with StoreCluster(directory, tls=False, flags=flags) as cluster:
        cluster.start()
        cluster.wait_ready()
        set_up(cluster)
        yield cluster


def test_nobody_gets_nothing_and_root_everything(cluster: StoreCluster) -> None:
    for at in cluster.names:
        assert "etcdserver: user name is empty" in refused(
            cluster.etcdctl("get", "a", at=at, check=False)
        )
        assert cluster.etcdctl("put", "a", "1", *ROOT, at=at).stdout == "OK\n"
        status = cluster.etcdctl("auth", "status", *ROOT, at=at).stdout
        assert status.startswith("Authentication Status: true")
    wrong = cluster.etcdctl("get", "a", "--user", "root:wrong", check=False)
    assert "etcdserver: authentication failed, invalid user ID or password" in refused(wrong)
    assert cluster.etcdctl("endpoint", "health", *ROOT).returncode == 0


def test_a_user_has_what_the_roles_give(cluster: StoreCluster, tmp_path: Path) -> None:
    for at in cluster.names:
        assert cluster.etcdctl("put", "app/a", at, *ANN, at=at).stdout == "OK\n"
        got = cluster.etcdctl("get", "app/a", "app/b", "--print-value-only", *ANN, at=at)
        assert got.stdout == f"{at}\n"
        for command in (("put", "other", "1"), ("get", "other"), ("get", "", "--prefix")):
            answer = cluster.etcdctl(*command, *ANN, at=at, check=False)
            assert "etcdserver: permission denied" in refused(answer)
    commands: tuple[tuple[str, ...], ...] = (
        ("user", "add", "eve:e"),
        ("role", "list"),
        ("auth", "disable"),
        ("defrag",),
        ("snapshot", "save", str(tmp_path / "db")),
    )
    for args in commands:
        answer = cluster.etcdctl(*args, *ANN, at="store-0", check=False)
        assert "permission denied" in refused(answer) + answer.stdout
    own = json.loads(cluster.etcdctl("user", "get", "ann", "-w", "json", *ANN).stdout)
    assert own["roles"] == ["app"]
    watch = cluster.etcdctl("watch", "other", *ANN, check=False)
    assert "permission denied" in watch.stderr + watch.stdout


def test_users_and_roles_are_listed_and_changed(cluster: StoreCluster) -> None:
    cluster.etcdctl("role", "add", "temporary", *ROOT)
    cluster.etcdctl("role", "grant-permission", "temporary", "read", "t", "u", *ROOT)
    shown = cluster.etcdctl("role", "get", "temporary", *ROOT).stdout
    assert "KV Read:\n\t[t, u)" in shown
    cluster.etcdctl("user", "add", "tom:t", *ROOT)
    cluster.etcdctl("user", "grant-role", "tom", "temporary", *ROOT)
    assert cluster.etcdctl("get", "t", "--user", "tom:t").returncode == 0
    cluster.etcdctl("role", "revoke-permission", "temporary", "t", "u", *ROOT)
    assert "permission denied" in refused(
        cluster.etcdctl("get", "t", "--user", "tom:t", check=False)
    )
    cluster.etcdctl("user", "revoke-role", "tom", "temporary", *ROOT)
    cluster.etcdctl("user", "passwd", "tom", "--interactive=false", *ROOT, stdin="new")
    assert cluster.etcdctl("user", "get", "tom", "--user", "tom:new").returncode == 0
    assert cluster.etcdctl("user", "list", *ROOT).stdout.split() == ["ann", "root", "tom"]
    assert cluster.etcdctl("role", "list", *ROOT).stdout.split() == ["app", "root", "temporary"]
    cluster.etcdctl("user", "delete", "tom", *ROOT)
    cluster.etcdctl("role", "delete", "temporary", *ROOT)


def test_users_outlive_restarts_and_travel_in_snapshots(cluster: StoreCluster) -> None:
    away = cluster.followers()[0]
    cluster.kill(away)
    cluster.etcdctl("user", "add", "new:n", *ROOT)
    cluster.etcdctl("user", "grant-role", "new", "app", *ROOT)
    rest = [name for name in cluster.names if name != away]
    for number in range(60):
        cluster.etcdctl("put", "app/n", str(number), *ANN, at=rest[0])
    cluster.start(away)
    cluster.wait_ready(away)

    def is_back() -> bool:
        got = cluster.etcdctl(
            *("get", "app/n", "--print-value-only", "--user", "new:n"), at=away, check=False
        )
        return got.stdout == "59\n"

    wait_until(is_back, "the member that was away knows the new user")
    assert "etcdserver: user name is empty" in refused(
        cluster.etcdctl("get", "app/n", at=away, check=False)
    )
    cluster.etcdctl("user", "delete", "new", *ROOT)


def test_a_certificate_says_who_the_client_is(tmp_path: Path) -> None:
    with StoreCluster(tmp_path, members=1) as cluster:
        cluster.start()
        cluster.wait_ready()
        name = common_name(cluster.pki / "store-client.crt")
        cluster.etcdctl("user", "add", name, "--no-password")
        cluster.etcdctl("user", "grant-role", name, "app", check=False)
        set_up(cluster)
        assert "permission denied" in refused(cluster.etcdctl("get", "app/a", check=False))
        cluster.etcdctl("user", "grant-role", name, "app", *ROOT)
        assert cluster.etcdctl("put", "app/a", "1").stdout == "OK\n"
        assert "permission denied" in refused(cluster.etcdctl("get", "b", check=False))
        assert cluster.etcdctl("get", "b", *ROOT).returncode == 0


def common_name(certificate: Path) -> str:
    from cryptography import x509

    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert loaded.not_valid_after_utc > dt.datetime.now(dt.UTC)
    (attribute,) = loaded.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(attribute.value)
