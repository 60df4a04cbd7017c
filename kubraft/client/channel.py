"""The connection to an API server: credentials, liveness, and when it is worth sending.

One HTTP/2 connection carries all calls of a process. A dead server is noticed at once when its
socket closes, and within `KEEPALIVE_S` plus `KEEPALIVE_TIMEOUT_S` when it only stops answering; a
new connection is tried every `RECONNECT_S_MAX` at least.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio

KEEPALIVE_S = 10
KEEPALIVE_TIMEOUT_S = 5
RECONNECT_S_MIN = 0.1
RECONNECT_S_MAX = 1.0
# The largest answer: a list of every object of a kind.
MESSAGE_BYTES_MAX = 512 * 1024 * 1024


def open_channel(
    server: str,
    *,
    ca_file: str | Path | None,
    cert_file: str | Path | None = None,
    key_file: str | Path | None = None,
) -> grpc.aio.Channel:
    """A channel to `server` ("host:port"), over TLS where there is a CA; connects when first used.

    Raises:
        OSError: a file cannot be read.
        ValueError: a certificate without its key, or a client certificate without a CA.
    """
    if (cert_file is None) != (key_file is None):
        raise ValueError("a client certificate and its key must be given together")
    if ca_file is None:
        if cert_file is not None:
            raise ValueError("a client certificate needs a CA file to check the server with")
        return grpc.aio.insecure_channel(server, options=_options())
    credentials = grpc.ssl_channel_credentials(
        root_certificates=Path(ca_file).read_bytes(),
        private_key=Path(key_file).read_bytes() if key_file else None,
        certificate_chain=Path(cert_file).read_bytes() if cert_file else None,
    )
    return grpc.aio.secure_channel(server, credentials, options=_options())


def _options() -> list[tuple[str, int]]:
    return [
        ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", round(RECONNECT_S_MIN * 1000)),
        ("grpc.min_reconnect_backoff_ms", round(RECONNECT_S_MAX * 1000)),
        ("grpc.max_reconnect_backoff_ms", round(RECONNECT_S_MAX * 1000)),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        # Clients of one process that have different servers must not share connections.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]


async def until_connected(channel: grpc.aio.Channel, timeout_s: float) -> bool:
    """Wait for a connection; False where there is none after `timeout_s`."""
    state = channel.get_state(try_to_connect=True)
    if state is grpc.ChannelConnectivity.READY:
        return True
    try:
        async with asyncio.timeout(timeout_s):
            while state is not grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        return False
    return True
