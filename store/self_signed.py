"""Certificates that vouch for themselves, for `--auto-tls` and `--peer-auto-tls`.

They keep what is said from those who only listen; who is at the other end nobody checks.
Source: etcd, client/pkg/transport (SelfCert).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubraft.home import write_private
from store.directory import make_directory

_CLOCK_SKEW = dt.timedelta(hours=1)
_DAYS_A_YEAR = 365


def find_or_make(directory: Path, hosts: Sequence[str], years: int) -> tuple[Path, Path]:
    """Certificate and key in `directory`, made where they are missing.

    Args:
        directory: made where it is missing.
        hosts: names and addresses that are served.
        years: how long a new one is good.

    Raises:
        OSError: they cannot be written.
    """
    certificate_file, key_file = directory / "cert.pem", directory / "key.pem"
    if not (certificate_file.exists() and key_file.exists()):
        make_directory(directory)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(key, hosts, years)
        write_private(key_file, _pem(key))
        write_private(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_file, key_file


def _certificate(
    key: ec.EllipticCurvePrivateKey, hosts: Sequence[str], years: int
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "etcd")])
    now = dt.datetime.now(dt.UTC)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=years * _DAYS_A_YEAR))
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_name, hosts))), critical=False)
        .sign(key, hashes.SHA256())
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
