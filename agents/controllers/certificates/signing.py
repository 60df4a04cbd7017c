"""Makes the certificate that an approved request asks for.

Source: Kubernetes API reference, CertificateSigningRequest v1 (usages, expirationSeconds);
RFC 5280.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from kubraft.api.object import Object

# A certificate is good a little before it is made, for clocks that are behind.
BACKDATE = timedelta(minutes=5)
_EXTENDED = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def read_authority(certificate_file: str, key_file: str) -> Authority:
    """Read both files.

    Raises:
        OSError, ValueError: one cannot be read, or is of a kind that does not sign here.
    """
    certificate = x509.load_pem_x509_certificate(Path(certificate_file).read_bytes())
    key = serialization.load_pem_private_key(Path(key_file).read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError(f"{key_file}: neither an EC nor an RSA key")  # noqa: TRY004 - a file's fault
    return Authority(certificate, key)


def lifetime(request: Object, most: timedelta) -> timedelta:
    """How long the certificate is to be good: what is asked for, ten minutes at least."""
    asked = request["spec"].get("expirationSeconds")
    if asked is None:
        return most
    return min(most, max(timedelta(seconds=asked), timedelta(minutes=10)))


def sign(
    authority: Authority,
    request: Object,
    asked: x509.CertificateSigningRequest,
    *,
    most: timedelta,
    now: datetime,
) -> bytes:
    """The certificate in PEM, with the request's subject and names, and the usages of its spec."""
    usages = set(request["spec"].get("usages") or ())
    begin = now - BACKDATE
    end = min(begin + lifetime(request, most), authority.certificate.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(asked.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(usages), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    if extended := [oid for name, oid in _EXTENDED.items() if name in usages]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    try:
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        builder = builder.add_extension(names.value, critical=False)
    except x509.ExtensionNotFound:
        pass
    certificate = builder.sign(authority.key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_usage(usages: set[str]) -> x509.KeyUsage:
    agreement = "key agreement" in usages
    return x509.KeyUsage(
        digital_signature=bool(usages & {"digital signature", "signing"}),
        content_commitment="content commitment" in usages,
        key_encipherment="key encipherment" in usages,
        data_encipherment="data encipherment" in usages,
        key_agreement=agreement,
        key_cert_sign="cert sign" in usages,
        crl_sign="crl sign" in usages,
        encipher_only=agreement and "encipher only" in usages,
        decipher_only=agreement and "decipher only" in usages,
    )
