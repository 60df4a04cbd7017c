"""The flags of authentication beyond certificates and ServiceAccounts; names are upstream's.

Outside of `authn`, whose imports take long: a wrong flag is told before.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubraft.api.duration import parse_duration


@dataclass(frozen=True, slots=True)
class AuthenticationOptions:
    """What one API server is told of who its users are."""

    anonymous: bool = True
    bootstrap_tokens: bool = False
    config_file: Path | None = None
    webhook_file: Path | None = None
    webhook_version: str = "v1"
    webhook_ttl_s: float = 120.0
    oidc_issuer_url: str = ""
    oidc_client_id: str = ""
    oidc_ca_file: Path | None = None
    oidc_username_claim: str = "sub"
    oidc_username_prefix: str = ""
    oidc_groups_claim: str = ""
    oidc_groups_prefix: str = ""
    oidc_required_claims: tuple[str, ...] = ()
    oidc_algorithms: tuple[str, ...] = ("RS256",)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a parser."""
    add = parser.add_argument
    switch: dict[str, Any] = {"type": boolean, "nargs": "?", "const": True}
    add("--anonymous-auth", default=True, help="let requests without credentials in", **switch)
    add("--enable-bootstrap-token-auth", default=False, help="by Secrets of kube-system", **switch)
    add("--authentication-config", type=Path, help="AuthenticationConfiguration, YAML")
    webhook = "--authentication-token-webhook"
    add(f"{webhook}-config-file", type=Path, help="kubeconfig of a TokenReview webhook")
    add(f"{webhook}-version", default="v1", choices=("v1", "v1beta1"))
    add(f"{webhook}-cache-ttl", type=duration_s, default=120.0, help="such as 2m0s")
    for name in ("issuer-url", "client-id", "username-prefix", "groups-claim", "groups-prefix"):
        add(f"--oidc-{name}", default="")
    add("--oidc-username-claim", default="sub")
    add("--oidc-ca-file", type=Path)
    add("--oidc-required-claim", action="append", default=[], help="claim=value")
    add("--oidc-signing-algs", default="RS256", help="comma-separated")


def read_flags(found: argparse.Namespace) -> AuthenticationOptions:
    """The flags of a command line; raises ValueError where two exclude each other."""
    if found.authentication_config and found.oidc_issuer_url:
        raise ValueError(
            "authentication-config file and oidc-* flags are mutually exclusive: "
            "--oidc-issuer-url and --authentication-config are both set"
        )
    return AuthenticationOptions(
        anonymous=found.anonymous_auth,
        bootstrap_tokens=found.enable_bootstrap_token_auth,
        config_file=found.authentication_config,
        webhook_file=found.authentication_token_webhook_config_file,
        webhook_version=found.authentication_token_webhook_version,
        webhook_ttl_s=found.authentication_token_webhook_cache_ttl,
        oidc_issuer_url=found.oidc_issuer_url,
        oidc_client_id=found.oidc_client_id,
        oidc_ca_file=found.oidc_ca_file,
        oidc_username_claim=found.oidc_username_claim,
        oidc_username_prefix=found.oidc_username_prefix,
        oidc_groups_claim=found.oidc_groups_claim,
        oidc_groups_prefix=found.oidc_groups_prefix,
        oidc_required_claims=tuple(found.oidc_required_claim),
        oidc_algorithms=tuple(part for part in found.oidc_signing_algs.split(",") if part),
    )


def boolean(text: str) -> bool:
    """A flag that is on or off."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def duration_s(text: str) -> float:
    """A duration as Go writes it: 2m0s."""
    try:
        return parse_duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 2m0s") from None
