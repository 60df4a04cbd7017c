"""What others need to trust our ServiceAccount tokens: the issuer's metadata and its public keys.

Pure: made once, from flags and keys.

Source: OpenID Connect Discovery 1.0; RFC 7517; Kubernetes documentation, "ServiceAccount issuer
discovery".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import orjson

from kubraft.signing_keys import VerifyingKey

CONFIGURATION_PATH: Final = "/.well-known/openid-configuration"
JWKS_PATH: Final = "/openid/v1/jwks"
MAX_AGE_S: Final = 3600
_MEMBERS: Final = {"ES256": ("crv", "x", "y"), "RS256": ("n", "e")}


@dataclass(frozen=True, slots=True)
class IssuerDocument:
    """One public document."""

    raw: bytes
    content_type: str


def issuer_documents(
    *, issuer: str, jwks_uri: str, keys: Sequence[VerifyingKey]
) -> dict[str, IssuerDocument]:
    """The documents by path; none where the issuer is not a URL that discovery may be at.

    Raises:
        ValueError: `jwks_uri` is not an https URL.
    """
    if not _is_https(issuer) or not keys:
        return {}
    if not _is_https(jwks_uri):
        raise ValueError(f"--service-account-jwks-uri {jwks_uri}: must be an https URL")
    metadata = {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in keys}),
    }
    by_id = {key.key_id: key for key in keys}
    jwks = {"keys": [_public(by_id[key_id]) for key_id in sorted(by_id)]}
    return {
        CONFIGURATION_PATH: IssuerDocument(orjson.dumps(metadata), "application/json"),
        JWKS_PATH: IssuerDocument(orjson.dumps(jwks), "application/jwk-set+json"),
    }


def _public(key: VerifyingKey) -> dict[str, str]:
    values = key.jwk.as_dict(private=False)
    members = {name: str(values[name]) for name in _MEMBERS[key.algorithm]}
    return {
        "use": "sig",
        "kty": str(values["kty"]),
        "kid": key.key_id,
        "alg": key.algorithm,
        **members,
    }


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.netloc) and not parts.query and not parts.fragment
