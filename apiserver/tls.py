"""The TLS of an API server's three sides, from its flags."""

from __future__ import annotations

import ssl

from apiserver.options import Options
from apiserver.rpc.logs import NodeTls
from apiserver.storage.endpoints import StoreTls


def store_tls(options: Options) -> StoreTls | None:
    """What the store is asked with; raises ValueError where only some of it is given."""
    files = (options.etcd_cafile, options.etcd_certfile, options.etcd_keyfile)
    ca, cert, key = files
    if ca and cert and key:
        return StoreTls(ca, cert, key)
    if any(files):
        raise ValueError("--etcd-cafile, --etcd-certfile and --etcd-keyfile go together")
    return None


def node_tls(options: Options) -> NodeTls | None:
    """What node agents are asked with; None where no files are given."""
    ca = options.kubelet_certificate_authority
    cert, key = options.kubelet_client_certificate, options.kubelet_client_key
    return NodeTls(ca, cert, key) if ca and cert and key else None


def node_context(tls: NodeTls) -> ssl.SSLContext:
    """How node agents are asked without gRPC: who they are is checked. Raises OSError."""
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.load_cert_chain(tls.cert_file, tls.key_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def https_context(options: Options) -> ssl.SSLContext:
    """The HTTPS port: client certificates are asked for, and not demanded. Raises OSError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(options.tls_cert_file, options.tls_private_key_file)
    context.load_verify_locations(options.client_ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
