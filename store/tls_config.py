"""What flags say of the TLS of a port. Source: etcd, client/pkg/tlsutil, server/embed."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from store import flag_table, flags, urls
from store.flag_error import FlagError

_VERSIONS = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}

# Go's names, OpenSSL's names; empty where it belongs to TLS 1.3, which has them all on.
_CIPHERS = {
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
}


@dataclass(frozen=True, slots=True)
class TlsRules:
    """What holds for all ports.

    Attributes:
        version_max: None is the newest there is.
        ciphers: OpenSSL's names; empty leaves the choice to OpenSSL.
    """

    version_min: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    version_max: ssl.TLSVersion | None = None
    ciphers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """The TLS of one port.

    Attributes:
        ca_file: who signs the certificates of those who come; None asks them for none.
        client_cert_auth: the common name of a certificate says which user its bearer is.
        client_cert_file: shown to other members instead of `cert_file`, with `client_key_file`.
        crl_file: certificates that do not count any more.
        allowed_names: common names that may come; empty for all.
        allowed_hosts: one of these a certificate must be for; empty for any.
        self_signed_hosts: make a certificate for these; empty where there are files.
    """

    cert_file: Path
    key_file: Path
    ca_file: Path | None
    client_cert_auth: bool
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    crl_file: Path | None = None
    allowed_names: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    self_signed_hosts: tuple[str, ...] = ()
    self_signed_years: int = 1
    rules: TlsRules = TlsRules()

    @property
    def files(self) -> tuple[Path, ...]:
        """All that are read."""
        found = (self.cert_file, self.key_file, self.ca_file, self.crl_file)
        return tuple(path for path in (*found, self.client_cert_file, self.client_key_file) if path)

    def with_pair(self, cert_file: Path, key_file: Path) -> TlsConfig:
        return replace(self, cert_file=cert_file, key_file=key_file)


def rules(raw: Mapping[str, str]) -> TlsRules:
    """Raises FlagError: a version or a cipher suite that is none, or that exclude each other."""
    least = _version("tls-min-version", raw["tls-min-version"]) or ssl.TLSVersion.TLSv1_2
    most = _version("tls-max-version", raw.get("tls-max-version", ""))
    if most is not None and least > most:
        raise FlagError(
            f"min version ({raw['tls-min-version']}) is greater than "
            f"max version ({raw['tls-max-version']})"
        )
    suites = flags.words(raw.get("cipher-suites", ""))
    for suite in suites:
        if suite not in _CIPHERS:
            raise FlagError(f'--cipher-suites: unexpected TLS cipher suite "{suite}"')
    if suites and least is ssl.TLSVersion.TLSv1_3:
        raise FlagError("cipher suites cannot be configured when only TLS1.3 is enabled")
    return TlsRules(least, most, tuple(filter(None, map(_CIPHERS.__getitem__, suites))))


def client_tls(raw: Mapping[str, str], listen: Sequence[str], common: TlsRules) -> TlsConfig | None:
    """The TLS of the ports that clients and probes come to; None where they speak plain text.

    Raises:
        FlagError: a file is missing for it, or flags exclude each other.
    """
    found = _of_port(raw, "", listen, common)
    if found is None:
        return None
    return replace(
        found,
        crl_file=_path(raw.get("client-crl-file")),
        allowed_names=flags.words(raw.get(flag_table.CLIENT_CN.name, "")),
        allowed_hosts=flags.words(raw.get("client-cert-allowed-hostname", "")),
    )


def peer_tls(raw: Mapping[str, str], listen: Sequence[str], common: TlsRules) -> TlsConfig | None:
    """The TLS between members; None where they speak plain text.

    Raises:
        FlagError: a file is missing for it, or flags exclude each other.
    """
    found = _of_port(raw, "peer-", listen, common)
    if found is None:
        return None
    names = flags.words(raw.get("peer-cert-allowed-cn", ""))
    hosts = flags.words(raw.get("peer-cert-allowed-hostname", ""))
    if names and hosts:
        raise FlagError(
            "--peer-cert-allowed-cn and --peer-cert-allowed-hostname are mutually exclusive"
        )
    cert, key = raw.get("peer-client-cert-file"), raw.get("peer-client-key-file")
    if bool(cert) != bool(key):
        raise FlagError(
            "--peer-client-cert-file and --peer-client-key-file must both be present or both absent"
        )
    return replace(
        found,
        client_cert_file=_path(cert),
        client_key_file=_path(key),
        crl_file=_path(raw.get("peer-crl-file")),
        allowed_names=names,
        allowed_hosts=hosts,
    )


def not_in_force(
    raw: Mapping[str, str], prefix: str, listen: Sequence[str]
) -> list[tuple[str, str]]:
    """URLs in plain text, each with a setting for TLS that means nothing there.

    Source: etcd, server/embed (configurePeerListeners, configureClientListeners).
    """
    pair, auth = (f"{prefix}cert-file", f"{prefix}key-file"), f"{prefix}client-cert-auth"
    causes = []
    if any(raw.get(name) for name in pair):
        what = "scheme is HTTP while key and cert files are present; ignoring key and cert files"
        causes.append(f"{what} (--{pair[0]}, --{pair[1]})")
    if flags.boolean(auth, raw[auth]):
        what = f"scheme is HTTP while --{auth} is enabled"
        causes.append(f"{what}; ignoring client cert auth for this URL")
    return [(url, cause) for url in listen if url.startswith("http:") for cause in causes]


def _of_port(
    raw: Mapping[str, str], prefix: str, listen: Sequence[str], common: TlsRules
) -> TlsConfig | None:
    secure = [url for url in listen if urls.is_secure(url)]
    if not secure:
        return None
    cert, key = raw.get(f"{prefix}cert-file"), raw.get(f"{prefix}key-file")
    ca = raw.get(f"{prefix}trusted-ca-file")
    auth = f"{prefix}client-cert-auth"
    client_cert_auth = flags.boolean(auth, raw[auth])
    hosts: tuple[str, ...] = ()
    if not cert and not key and flags.boolean(f"{prefix}auto-tls", raw[f"{prefix}auto-tls"]):
        hosts = tuple(
            dict.fromkeys(urls.address_of("listen-urls", url).host or "localhost" for url in secure)
        )
    elif not cert or not key:
        whose = "peer" if prefix else "client"
        raise FlagError(
            f"TLS key/cert (--{prefix}cert-file, --{prefix}key-file) must be provided for "
            f"{whose} url {secure[0]} with HTTPS scheme"
        )
    if client_cert_auth and not ca:
        raise FlagError(f"--{auth}: needs --{prefix}trusted-ca-file")
    years = "self-signed-cert-validity"
    return TlsConfig(
        cert_file=Path(cert or ""),
        key_file=Path(key or ""),
        ca_file=_path(ca),
        client_cert_auth=client_cert_auth,
        self_signed_hosts=hosts,
        self_signed_years=flags.integer(years, raw[years], least=1),
        rules=common,
    )


def _version(flag: str, text: str) -> ssl.TLSVersion | None:
    if not text:
        return None
    found = _VERSIONS.get(text)
    if found is None:
        raise FlagError(f'--{flag}: unexpected TLS version: "{text}"')
    return found


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
