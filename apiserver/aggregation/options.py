"""The flags of aggregation; names are kube-apiserver's."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

_LISTS = {
    "allowed-names": "names that a front proxy's certificate may have; any where empty",
    "username-headers": "such as X-Remote-User",
    "uid-headers": "such as X-Remote-Uid",
    "group-headers": "such as X-Remote-Group",
    "extra-headers-prefix": "such as X-Remote-Extra-",
}


@dataclass(frozen=True, slots=True)
class AggregationOptions:
    """How this server shows itself to extension servers, and what it tells them to trust."""

    client_certificate: Path | None = None
    client_key: Path | None = None
    ca_file: Path | None = None
    allowed_names: tuple[str, ...] = ()
    username_headers: tuple[str, ...] = ()
    uid_headers: tuple[str, ...] = ()
    group_headers: tuple[str, ...] = ()
    extra_prefixes: tuple[str, ...] = ()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a parser."""
    for name in ("cert", "key"):
        text = "shown to extension servers, PEM"
        parser.add_argument(f"--proxy-client-{name}-file", type=Path, help=text)
    text = "authority of front proxies, told to extension servers"
    parser.add_argument("--requestheader-client-ca-file", type=Path, help=text)
    for name, text in _LISTS.items():
        parser.add_argument(f"--requestheader-{name}", default="", help=text)


def read_flags(found: argparse.Namespace) -> AggregationOptions:
    """The flags of a command line.

    Raises:
        ValueError: a certificate without its key, or the other way round.
    """
    if bool(found.proxy_client_cert_file) != bool(found.proxy_client_key_file):
        raise ValueError("--proxy-client-cert-file and --proxy-client-key-file go together")

    def words(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())

    return AggregationOptions(
        client_certificate=found.proxy_client_cert_file,
        client_key=found.proxy_client_key_file,
        ca_file=found.requestheader_client_ca_file,
        allowed_names=words(found.requestheader_allowed_names),
        username_headers=words(found.requestheader_username_headers),
        uid_headers=words(found.requestheader_uid_headers),
        group_headers=words(found.requestheader_group_headers),
        extra_prefixes=words(found.requestheader_extra_headers_prefix),
    )
