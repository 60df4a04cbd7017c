"""TLS of a member's ports: made from files, and anew when these change.

A certificate is renewed by putting other files in place: each handshake looks whether they are
still the ones that were read. Files that do not fit each other, as between the writing of one and
the other, leave the old ones in force. Source: etcd, client/pkg/transport (listener.go).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kubraft.log import get_logger
from store import self_signed
from store.config import MemberConfig
from store.member_error import MemberError, cause_of
from store.peer_certificate import Admission, NotAdmittedError
from store.raft.config import PeerTls
from store.tls_config import TlsConfig

log = get_logger("store.tls")


@dataclass(frozen=True, slots=True)
class MemberTls:
    """None where a port speaks plain text."""

    client: ssl.SSLContext | None
    peer: PeerTls | None

    @property
    def to_peers(self) -> ssl.SSLContext | None:
        return self.peer.dial if self.peer is not None else None


def member_tls(config: MemberConfig) -> MemberTls:
    """Read and try all PEM files; the data directory exists.

    Raises:
        MemberError: a file cannot be read or used.
    """
    client, peer = config.client_tls, config.peer_tls
    if client is not None and client.self_signed_hosts:
        client = _self_signed(client, config.data_dir / "fixtures" / "client", "")
    if peer is not None and peer.self_signed_hosts:
        peer = _self_signed(peer, config.data_dir / "fixtures" / "peer", "peer-")
    return MemberTls(
        client=_server(client, "", ("h2", "http/1.1")) if client else None,
        peer=peer_tls(peer) if peer else None,
    )


def peer_tls(tls: TlsConfig) -> PeerTls:
    """Raises MemberError: a file cannot be read or used."""
    return PeerTls(accept=_server(tls, "peer-", ()), dial=_dialler(tls))


class RenewedContext(ssl.SSLContext):
    """Stands for a context that `make` makes of `files`, anew once they are others."""

    def __new__(cls, make: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> Self:
        del make, files
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, make: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> None:
        """Raises what `make` raises."""
        self._make = make
        self._files = tuple(files)
        self._seen = self._look()
        self._made = make()

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """One connection, with the files as they are now."""
        self._renew()
        return self._made.wrap_bio(*args, **kwargs)

    def _renew(self) -> None:
        found = self._look()
        if found == self._seen:
            return
        self._seen = found
        names = ",".join(map(str, self._files))
        try:
            self._made = self._make()
        except MemberError as error:
            log.warning("TLS files not renewed", cause=str(error))
        else:
            log.info("TLS files renewed", files=names)

    def _look(self) -> list[tuple[int, int, int]]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


class _CheckedContext(ssl.SSLContext):
    """A context with rules of its own about who is let in."""

    admission: Admission
    # The flag of the port that it serves; empty where it dials, for who dials tells the cause.
    flag = ""
    complaint = ""

    def complain(self, cause: str) -> None:
        """Log a cause once, not at every attempt."""
        if self.flag and cause != self.complaint:
            self.complaint = cause
            log.warning("TLS connection refused", flag=self.flag, cause=cause)


class _CheckedObject(ssl.SSLObject):
    """One connection; who is at its other end is looked at as soon as the handshake is done."""

    def do_handshake(self) -> None:
        context = self.context
        assert isinstance(context, _CheckedContext)
        try:
            super().do_handshake()
            context.admission.check(self.getpeercert(binary_form=True))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except NotAdmittedError as error:
            context.complain(str(error))
            raise ssl.SSLCertVerificationError(1, str(error)) from error
        except ssl.SSLError as error:
            context.complain(cause_of(error))
            raise


def _server(tls: TlsConfig, prefix: str, protocols: Sequence[str]) -> ssl.SSLContext:
    def make() -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_SERVER, tls, prefix)
        _load_pair(context, tls.cert_file, tls.key_file, f"{prefix}cert-file", f"{prefix}key-file")
        context.flag = "--listen-peer-urls" if prefix else "--listen-client-urls"
        if tls.ca_file is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        if protocols:
            context.set_alpn_protocols(protocols)
        return context

    return RenewedContext(make, tls.files)


def _dialler(tls: TlsConfig) -> ssl.SSLContext:
    """For connections to other members."""

    def make() -> ssl.SSLContext:
        context = _context(ssl.PROTOCOL_TLS_CLIENT, tls, "peer-")
        if tls.client_cert_file is not None and tls.client_key_file is not None:
            _load_pair(
                context,
                tls.client_cert_file,
                tls.client_key_file,
                "peer-client-cert-file",
                "peer-client-key-file",
            )
        else:
            _load_pair(context, tls.cert_file, tls.key_file, "peer-cert-file", "peer-key-file")
        if tls.self_signed_hosts:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif tls.ca_file is None:
            context.load_default_certs()
        return context

    return RenewedContext(make, tls.files)


def _context(protocol: int, tls: TlsConfig, prefix: str) -> _CheckedContext:
    context = _CheckedContext(protocol)
    context.sslobject_class = _CheckedObject
    context.admission = _admission(tls, prefix)
    context.minimum_version = tls.rules.version_min
    if tls.rules.version_max is not None:
        context.maximum_version = tls.rules.version_max
    if tls.rules.ciphers:
        context.set_ciphers(":".join(tls.rules.ciphers))
    if tls.ca_file is not None:
        _check_readable(tls.ca_file, f"{prefix}trusted-ca-file")
        try:
            context.load_verify_locations(tls.ca_file)
        except (ssl.SSLError, OSError) as error:
            message = f"--{prefix}trusted-ca-file {tls.ca_file}: not a certificate"
            raise MemberError(message) from error
    return context


def _admission(tls: TlsConfig, prefix: str) -> Admission:
    flag = "peer-crl-file" if prefix else "client-crl-file"
    revoked: bytes | None = None
    if tls.crl_file is not None:
        _check_readable(tls.crl_file, flag)
        revoked = tls.crl_file.read_bytes()
    try:
        return Admission(names=tls.allowed_names, hosts=tls.allowed_hosts, revocations=revoked)
    except ValueError as error:
        raise MemberError(f"--{flag} {tls.crl_file}: not a revocation list") from error


def _load_pair(context: ssl.SSLContext, cert: Path, key: Path, *flags: str) -> None:
    for path, flag in zip((cert, key), flags, strict=True):
        _check_readable(path, flag)
    try:
        context.load_cert_chain(cert, key)
    except (ssl.SSLError, OSError) as error:
        message = f"--{flags[0]} {cert}: not a certificate that fits its key"
        raise MemberError(message) from error


def _check_readable(path: Path, flag: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise MemberError(f"--{flag} {path}: {cause_of(error)}") from error


def _self_signed(tls: TlsConfig, directory: Path, prefix: str) -> TlsConfig:
    try:
        pair = self_signed.find_or_make(directory, tls.self_signed_hosts, tls.self_signed_years)
    except OSError as error:
        place = os.fspath(directory)
        raise MemberError(f"--{prefix}auto-tls: {place}: {cause_of(error)}") from error
    return tls.with_pair(*pair)
