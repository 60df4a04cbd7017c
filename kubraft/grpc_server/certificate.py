"""The client's certificate, as handlers know it from grpcio."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence


def auth_context(transport: asyncio.Transport) -> Mapping[str, Sequence[bytes]]:
    """Common names and PEM of the certificate; empty without one."""
    tls = transport.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    if not certificate:
        return {}
    names = [
        value.encode()
        for part in tls.getpeercert().get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    pem = ssl.DER_cert_to_PEM_cert(certificate).encode()
    return {"x509_common_name": names, "x509_pem_cert": [pem]}
