"""The TLS of a port whose callers show a certificate, or a token."""

from __future__ import annotations

import ssl
from pathlib import Path


def serving_context(cert_file: Path, key_file: Path, *client_ca_files: Path) -> ssl.SSLContext:
    """Certificates are asked for and not demanded: who has none may have a token.

    Raises:
        OSError: a file cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert_file, key_file)
    for file in client_ca_files:
        context.load_verify_locations(file)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
