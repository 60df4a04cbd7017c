"""etcd and the stand-in for kube-apiserver, started with the arguments that envtest uses.

Source: sigs.k8s.io/controller-runtime, pkg/internal/testing/controlplane (apiserver.go, auth.go).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.conformance.storage.etcd import running_etcd
from tests.harness.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
# envtest's own limit is 20 s; a loaded machine gets more.
READY_WITHIN_S = 60.0


def envtest_arguments(directory: Path, etcd_url: str, port: int) -> list[str]:
    """What envtest passes, in its order: sorted by name."""
    flags = {
        "allow-privileged": "true",
        "authorization-mode": "RBAC",
        "bind-address": "127.0.0.1",
        "cert-dir": directory,
        "client-ca-file": directory / "client-cert-auth-ca.crt",
        "disable-admission-plugins": "ServiceAccount",
        "etcd-servers": etcd_url,
        "secure-port": port,
        "service-account-issuer": f"https://127.0.0.1:{port}/",
        "service-account-key-file": directory / "sa-signer.crt",
        "service-account-signing-key-file": directory / "sa-signer.key",
        "service-cluster-ip-range": "10.0.0.0/24",
    }
    return [f"--{name}={value}" for name, value in flags.items()]


@dataclass(frozen=True)
class ControlPlane:
    """A running server and who its administrator is."""

    directory: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"


@contextlib.contextmanager
def running_control_plane(folder: Path) -> Iterator[ControlPlane]:
    directory = folder / "certs"
    directory.mkdir()
    _Files(directory).write()
    (port,) = free_ports(1)
    with (
        running_etcd(folder) as etcd_url,
        running_apiserver(envtest_arguments(directory, etcd_url, port), folder, port),
    ):
        plane = ControlPlane(directory, port)
        _write_kubeconfig(plane)
        yield plane


@contextlib.contextmanager
def running_apiserver(arguments: list[str], folder: Path, port: int) -> Iterator[None]:
    log_file = folder / "kube-apiserver.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "apiserver.kube_apiserver", *arguments],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_healthy(port, process, log_file)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait_healthy(port: int, process: subprocess.Popen[bytes], log_file: Path) -> None:
    """As envtest waits: for 200 on /healthz, whatever the certificate; and until it is ready."""
    trusting = ssl._create_unverified_context()
    deadline = time.monotonic() + READY_WITHIN_S
    for path in ("/healthz", "/readyz"):
        while True:
            assert process.poll() is None, log_file.read_text()
            assert time.monotonic() < deadline, log_file.read_text()
            with contextlib.suppress(OSError):
                url = f"https://127.0.0.1:{port}{path}"
                with urllib.request.urlopen(url, context=trusting, timeout=5) as answer:
                    if answer.status == 200:
                        break
            time.sleep(0.05)


class _Files:
    """The files that envtest makes: two authorities of its own, and a signer's certificate."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self) -> None:
        ca, ca_key = self._issue("serving-ca", {"ca": True})
        self._issue("apiserver", {"signer": (ca, ca_key), "names": True})
        self._issue("sa-signer", {"ca": True})
        users, users_key = self._issue("client-cert-auth-ca", {"ca": True})
        self._issue("admin", {"signer": (users, users_key), "group": "system:masters"})

    def _issue(
        self, name: str, how: dict[str, object]
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if group := how.get("group"):
            parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, str(group)))
        subject = x509.Name(parts)
        signer = how.get("signer")
        issuer, signing = subject, key
        if isinstance(signer, tuple):
            issuer, signing = signer[0].subject, signer[1]
        now = dt.datetime.now(dt.UTC)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if group else ExtendedKeyUsageOID.SERVER_AUTH
        local = [x509.DNSName("localhost"), x509.IPAddress(_LOOPBACK)]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=7))
            .add_extension(x509.BasicConstraints("ca" in how, None), critical=True)
        )
        builder = builder.add_extension(_key_usage(ca="ca" in how), critical=True)
        if "ca" not in how:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
            builder = builder.add_extension(identifier, critical=False)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        if "names" in how:
            builder = builder.add_extension(x509.SubjectAlternativeName(local), critical=False)
        made = builder.sign(signing, hashes.SHA256())
        pem = serialization.Encoding.PEM
        encoded = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self._directory / f"{name}.crt").write_bytes(made.public_bytes(pem))
        (self._directory / f"{name}.key").write_bytes(encoded)
        return made, key


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _write_kubeconfig(plane: ControlPlane) -> None:
    files = plane.directory
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {
                "name": "test",
                "cluster": {
                    "server": plane.url,
                    "certificate-authority": str(files / "serving-ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": "admin",
                "user": {
                    "client-certificate": str(files / "admin.crt"),
                    "client-key": str(files / "admin.key"),
                },
            }
        ],
        "contexts": [
            {
                "name": "test",
                "context": {"cluster": "test", "user": "admin", "namespace": "default"},
            }
        ],
    }
    plane.kubeconfig.write_text(yaml.safe_dump(config))
    plane.kubeconfig.chmod(0o600)


_LOOPBACK = ipaddress.ip_address("127.0.0.1")
