"""What a caller shows to prove who it is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """Secrets of one request; never printed, not even by `repr`.

    `client_certificate` is the PEM of a leaf certificate whose chain and possession of the private
    key the TLS handshake has verified already; `bearer_token` is without its "Bearer " prefix.
    `audiences` are those that the token must be for one of; none: this API server's.
    """

    client_certificate: bytes | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    audiences: tuple[str, ...] = ()
