"""The keys that sign and verify ServiceAccount tokens: EC P-256 (ES256) and RSA (RS256).

A key's id is derived from the key, so that every API server that has it says the same.

Source: RFC 7515, RFC 7518; key id as in Kubernetes' serviceaccount token generator.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import load_pem_x509_certificate
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

# The only algorithms that a token may claim; "none" and the symmetric ones are not among them.
ALGORITHMS: Final = ("ES256", "RS256")

_RSA_BITS_MIN: Final = 2_048
_PEM: Final = re.compile(
    rb"-----BEGIN (?P<label>[A-Z ]+)-----.*?-----END (?P=label)-----", re.DOTALL
)

PublicKey = EllipticCurvePublicKey | RSAPublicKey
PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey


class SigningKeyError(ValueError):
    """A key file cannot be used; the message names the file, never the key."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with its id and the one algorithm that it may be used with."""

    key_id: str
    algorithm: str
    jwk: ECKey | RSAKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, with the public half that verifies what it signs."""

    public: VerifyingKey
    jwk: ECKey | RSAKey = field(repr=False)


def load_signing_key(path: Path) -> SigningKey:
    """Read a PEM private key.

    Raises:
        SigningKeyError: unreadable, encrypted, or neither EC P-256 nor RSA of 2,048 bits or more.
    """
    for block in _pem_blocks(path):
        if b"PRIVATE KEY" in block.split(b"\n", 1)[0]:
            return signing_key(_private_key(block, path), str(path))
    raise SigningKeyError(f"service account key file {path}: holds no private key")


def load_verifying_keys(paths: Iterable[Path]) -> list[VerifyingKey]:
    """Read all keys of PEM files; of a private key its public half, of a certificate its key.

    Raises:
        SigningKeyError: unreadable, no key, or a kind of key that is not served.
    """
    keys: list[VerifyingKey] = []
    for path in paths:
        for block in _pem_blocks(path):
            if b"PRIVATE KEY" in block.split(b"\n", 1)[0]:
                public = _private_key(block, path).public_key()
            else:
                public = _public_key(block, path)
            keys.append(verifying_key(public, str(path)))
    return keys


def signing_key(key: PrivateKey, source: str = "key") -> SigningKey:
    """Wrap a private key for signing; `source` names it in errors."""
    public = verifying_key(key.public_key(), source)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey(public, _jwk(public.algorithm, pem))


def sign_claims(key: SigningKey, claims: Mapping[str, Any]) -> str:
    """A JWT of these claims, in compact form."""
    public = key.public
    return jws.serialize_compact(
        {"alg": public.algorithm, "kid": public.key_id},
        json.dumps(claims, separators=(",", ":")),
        key.jwk,
        algorithms=[public.algorithm],
    )


def verifying_key(key: PublicKey, source: str = "key") -> VerifyingKey:
    """Wrap a public key for verifying; `source` names it in errors."""
    if isinstance(key, EllipticCurvePublicKey):
        if not isinstance(key.curve, SECP256R1):
            raise SigningKeyError(
                f"service account key file {source}: curve {key.curve.name}, need P-256"
            )
        algorithm = "ES256"
    else:
        if key.key_size < _RSA_BITS_MIN:
            raise SigningKeyError(
                f"service account key file {source}: RSA key of {key.key_size} bits, "
                f"need {_RSA_BITS_MIN}"
            )
        algorithm = "RS256"
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key_id = base64.urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()
    return VerifyingKey(key_id, algorithm, _jwk(algorithm, pem))


def _jwk(algorithm: str, pem: bytes) -> ECKey | RSAKey:
    return ECKey.import_key(pem) if algorithm == "ES256" else RSAKey.import_key(pem)


def _pem_blocks(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SigningKeyError(f"service account key file {path}: {error.strerror}") from None
    blocks = [
        match.group(0)
        for match in _PEM.finditer(content)
        if match.group("label").endswith((b" KEY", b"CERTIFICATE"))
    ]
    if not blocks:
        raise SigningKeyError(f"service account key file {path}: holds no PEM key")
    return blocks


def _private_key(block: bytes, path: Path) -> PrivateKey:
    try:
        key = load_pem_private_key(block, password=None)
    except (ValueError, TypeError):
        raise SigningKeyError(
            f"service account key file {path}: not a readable, unencrypted private key"
        ) from None
    if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey):
        raise SigningKeyError(f"service account key file {path}: neither an EC nor an RSA key")
    return key


def _public_key(block: bytes, path: Path) -> PublicKey:
    try:
        if b"CERTIFICATE" in block.split(b"\n", 1)[0]:
            block = (
                load_pem_x509_certificate(block)
                .public_key()
                .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            )
        key = load_pem_public_key(block)
    except ValueError:
        raise SigningKeyError(
            f"service account key file {path}: not a readable public key"
        ) from None
    if not isinstance(key, EllipticCurvePublicKey | RSAPublicKey):
        raise SigningKeyError(f"service account key file {path}: neither an EC nor an RSA key")
    return key
