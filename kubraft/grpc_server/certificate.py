"""The client's certificate, as handlers know it from grpcio."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

# A connection's certificate does not change, and is asked for on every request.
_known: WeakKeyDictionary[ssl.SSLObject, Mapping[str, Sequence[bytes]]] = WeakKeyDictionary()


def auth_context(transport: asyncio.Transport) -> Mapping[str, Sequence[bytes]]:
    """Common names and PEM of the certificate; empty without one."""
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return {}
    found = _known.get(tls)
    if found is None:
        found = _known[tls] = _read(tls)
    return found


def _read(tls: ssl.SSLObject) -> Mapping[str, Sequence[bytes]]:
    certificate = tls.getpeercert(binary_form=True)
    if not certificate:
        return {}
    subject: Any = (tls.getpeercert() or {}).get("subject", ())
    names = [value.encode() for part in subject for key, value in part if key == "commonName"]
    pem = ssl.DER_cert_to_PEM_cert(certificate).encode()
    return {"x509_common_name": names, "x509_pem_cert": [pem]}
