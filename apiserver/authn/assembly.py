"""Puts the ways of token authentication together, as flags and files say."""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from apiserver.authentication_options import AuthenticationOptions
from apiserver.authn.anonymous import EVERYWHERE, AnonymousAccess
from apiserver.authn.authentication_config import (
    AuthenticationConfig,
    AuthenticationConfigError,
    of_flags,
    parse,
)
from apiserver.authn.authenticator import TokenAuthenticator
from apiserver.authn.bootstrap_token import BootstrapTokens
from apiserver.authn.oidc import OidcAuthenticator, OidcConfig
from apiserver.authn.provider_keys import ProviderKeys
from apiserver.authn.remote import Remote
from apiserver.authn.webhook import WebhookTokens
from apiserver.reader import Reader


class TokenSources:
    """The authenticators that flags ask for, in upstream's order; `close` ends connections."""

    def __init__(
        self, options: AuthenticationOptions, reader: Reader, now: Callable[[], float]
    ) -> None:
        """Raises ValueError, naming flag and file, where one cannot be used."""
        self._now = now
        self._remotes: list[Remote] = []
        config = _read_config(options)
        self.anonymous: AnonymousAccess = config.anonymous or (
            EVERYWHERE if options.anonymous else AnonymousAccess(enabled=False)
        )
        self.authenticators: list[TokenAuthenticator] = []
        if options.bootstrap_tokens:
            self.authenticators.append(BootstrapTokens(reader, now))
        self.authenticators += self._providers(config.providers)
        if options.webhook_file is not None:
            self.authenticators.append(self._webhook(options, options.webhook_file))

    async def close(self) -> None:
        for remote in self._remotes:
            await remote.close()

    def _providers(self, configs: Sequence[OidcConfig]) -> list[OidcAuthenticator]:
        return [
            OidcAuthenticator(
                config,
                ProviderKeys(config, self._remote(_trust(config.certificate_authority)), self._now),
                self._now,
            )
            for config in configs
        ]

    def _webhook(self, options: AuthenticationOptions, path: Path) -> WebhookTokens:
        flag = f"--authentication-token-webhook-config-file {path}"
        try:
            url, context, headers = read_kubeconfig(path)
        except OSError as error:
            raise ValueError(f"{flag}: {error.strerror}") from error
        except (KeyError, IndexError, TypeError, ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{flag}: not a usable kubeconfig: {error}") from error
        return WebhookTokens(
            url,
            self._remote(context, headers),
            self._now,
            version=options.webhook_version,
            ttl_s=options.webhook_ttl_s,
        )

    def _remote(self, context: ssl.SSLContext, headers: dict[str, str] | None = None) -> Remote:
        remote = Remote(context, headers)
        self._remotes.append(remote)
        return remote


def read_kubeconfig(path: Path) -> tuple[str, ssl.SSLContext, dict[str, str]]:
    """Where a kubeconfig's current context points to, whom it trusts, and what it shows."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"] if context.get("user") else {}
    server = cluster["server"]
    if not isinstance(server, str) or not server.startswith("https://"):
        raise ValueError("the server must be an https URL")
    tls = _trust(_data(cluster, "certificate-authority", path).decode())
    certificate, key = _data(user, "client-certificate", path), _data(user, "client-key", path)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as both:  # 0600; ssl loads from files only
            both.write(certificate + b"\n" + key)
            both.flush()
            tls.load_cert_chain(both.name)
    headers = {"authorization": f"Bearer {user['token']}"} if user.get("token") else {}
    return server, tls, headers


def _named(items: Any, name: str) -> Any:
    return next(item for item in [*items, {}] if item["name"] == name)


def _data(holder: dict[str, Any], name: str, path: Path) -> bytes:
    if inline := holder.get(f"{name}-data"):
        return base64.b64decode(inline, validate=True)
    file = holder.get(name)
    return (path.parent / file).read_bytes() if file else b""


def _trust(pem: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=pem or None)
    except ssl.SSLError as error:
        raise AuthenticationConfigError(f"certificateAuthority: {error.reason}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _read_config(options: AuthenticationOptions) -> AuthenticationConfig:
    path = options.config_file
    if path is not None:
        try:
            return parse(path.read_text())
        except OSError as error:
            raise ValueError(f"--authentication-config {path}: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(f"--authentication-config {path}: {error}") from error
    if not options.oidc_issuer_url:
        return AuthenticationConfig()
    authority = ""
    if options.oidc_ca_file is not None:
        try:
            authority = options.oidc_ca_file.read_text()
        except OSError as error:
            raise ValueError(f"--oidc-ca-file {options.oidc_ca_file}: {error.strerror}") from error
    provider = of_flags(
        issuer=options.oidc_issuer_url,
        client_id=options.oidc_client_id,
        username_claim=options.oidc_username_claim,
        username_prefix=options.oidc_username_prefix,
        groups_claim=options.oidc_groups_claim,
        groups_prefix=options.oidc_groups_prefix,
        required_claims=options.oidc_required_claims,
        algorithms=options.oidc_algorithms,
        certificate_authority=authority,
    )
    return AuthenticationConfig((provider,))
