"""An AuthenticationConfiguration, or the --oidc-* flags, as what is to be done. Pure.

Claims and prefixes are served; CEL expressions are refused by name. Errors name the field.

Source: Kubernetes documentation, apiserver.config.k8s.io/v1 AuthenticationConfiguration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from apiserver.authn.anonymous import EVERYWHERE, AnonymousAccess
from apiserver.authn.oidc import ALGORITHMS, OidcConfig

PROVIDERS_MAX: Final = 64  # as upstream
CONFIG_CHARS_MAX: Final = 1 << 20
_API_VERSIONS: Final = tuple(
    f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1")
)


class AuthenticationConfigError(ValueError):
    """The configuration cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class AuthenticationConfig:
    """`anonymous` None leaves it to the flag."""

    providers: tuple[OidcConfig, ...] = ()
    anonymous: AnonymousAccess | None = None


def parse(text: str) -> AuthenticationConfig:
    """Read a configuration in YAML or JSON; raises AuthenticationConfigError."""
    if len(text) > CONFIG_CHARS_MAX:
        raise AuthenticationConfigError("the file is too large")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise AuthenticationConfigError("not YAML") from None
    config = _mapping(found, "", "apiVersion", "kind", "jwt", "anonymous")
    if config.get("kind") != "AuthenticationConfiguration":
        raise _invalid("kind", "must be AuthenticationConfiguration")
    if config.get("apiVersion") not in _API_VERSIONS:
        raise _invalid("apiVersion", f"must be {_API_VERSIONS[0]}")
    jwt = _list(config.get("jwt"), "jwt")
    if len(jwt) > PROVIDERS_MAX:
        raise AuthenticationConfigError(f"jwt: Too many: must have at most {PROVIDERS_MAX} items")
    providers = tuple(_provider(item, f"jwt[{index}]") for index, item in enumerate(jwt))
    for index, provider in enumerate(providers):
        if provider.issuer in [other.issuer for other in providers[:index]]:
            raise AuthenticationConfigError(
                f'jwt[{index}].issuer.url: Duplicate value: "{provider.issuer}"'
            )
    anonymous = config.get("anonymous")
    return AuthenticationConfig(providers, None if anonymous is None else _anonymous(anonymous))


def check_issuer(url: str, path: str) -> str:
    """An issuer's URL; raises AuthenticationConfigError where it cannot be one."""
    if not url:
        raise AuthenticationConfigError(f"{path}: Required value: URL is required")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _invalid(path, "not a URL") from None
    if parts.scheme != "https" or not parts.netloc:
        raise _invalid(path, "URL scheme must be https")
    if parts.username or parts.password:
        raise _invalid(path, "URL must not contain a username or password")
    if parts.query or parts.fragment:
        raise _invalid(path, "URL must not contain a query or fragment")
    return url


def of_flags(
    *,
    issuer: str,
    client_id: str,
    username_claim: str,
    username_prefix: str,
    groups_claim: str,
    groups_prefix: str,
    required_claims: Sequence[str],
    algorithms: Sequence[str],
    certificate_authority: str,
) -> OidcConfig:
    """The provider that --oidc-* flags describe; raises AuthenticationConfigError."""
    if not client_id:
        raise AuthenticationConfigError("--oidc-client-id must be set with --oidc-issuer-url")
    unknown = [name for name in algorithms if name not in ALGORITHMS]
    if unknown:
        raise AuthenticationConfigError(f"--oidc-signing-algs: {unknown[0]} is not served")
    required = {}
    for claim in required_claims:
        name, equals, value = claim.partition("=")
        if not (name and equals):
            raise AuthenticationConfigError(f"--oidc-required-claim {claim}: must be claim=value")
        required[name] = value
    prefix = username_prefix
    if not prefix and username_claim != "email":
        prefix = f"{issuer}#"
    return OidcConfig(
        issuer=check_issuer(issuer, "--oidc-issuer-url"),
        audiences=(client_id,),
        certificate_authority=certificate_authority,
        username_claim=username_claim,
        username_prefix="" if prefix == "-" else prefix,
        groups_claim=groups_claim,
        groups_prefix="" if groups_prefix == "-" else groups_prefix,
        required=required,
        algorithms=tuple(algorithms),
    )


def _provider(item: Any, path: str) -> OidcConfig:
    fields = _mapping(
        item, path, "issuer", "claimValidationRules", "claimMappings", "userValidationRules"
    )
    if fields.get("userValidationRules"):
        raise _unserved(f"{path}.userValidationRules")
    at = f"{path}.issuer"
    issuer = _mapping(
        fields.get("issuer"), at, "url", "discoveryURL", "certificateAuthority", "audiences",
        "audienceMatchPolicy",
    )  # fmt: skip
    audiences = _list(issuer.get("audiences"), f"{at}.audiences")
    if not audiences:
        raise AuthenticationConfigError(
            f"{at}.audiences: Required value: at least one jwt.issuer.audiences is required"
        )
    discovery = _text(issuer.get("discoveryURL"), f"{at}.discoveryURL")
    mappings = _mapping(
        fields.get("claimMappings"), f"{path}.claimMappings", "username", "groups", "uid", "extra"
    )
    if mappings.get("extra"):
        raise _unserved(f"{path}.claimMappings.extra")
    username = _mapped(mappings.get("username"), f"{path}.claimMappings.username", prefixed=True)
    if not username[0]:
        raise AuthenticationConfigError(
            f"{path}.claimMappings.username: Required value: claim or expression is required"
        )
    groups = _mapped(mappings.get("groups"), f"{path}.claimMappings.groups", prefixed=True)
    return OidcConfig(
        issuer=check_issuer(_text(issuer.get("url"), f"{at}.url"), f"{at}.url"),
        audiences=tuple(_text(one, f"{at}.audiences") for one in audiences),
        discovery_url=check_issuer(discovery, f"{at}.discoveryURL") if discovery else "",
        certificate_authority=_text(
            issuer.get("certificateAuthority"), f"{at}.certificateAuthority"
        ),
        username_claim=username[0],
        username_prefix=username[1],
        groups_claim=groups[0],
        groups_prefix=groups[1],
        uid_claim=_mapped(mappings.get("uid"), f"{path}.claimMappings.uid")[0],
        required=_required(fields.get("claimValidationRules"), f"{path}.claimValidationRules"),
    )


def _mapped(value: Any, path: str, *, prefixed: bool = False) -> tuple[str, str]:
    """Claim and prefix."""
    if value is None:
        return "", ""
    fields = _mapping(value, path, "claim", "prefix", "expression")
    if fields.get("expression"):
        raise _unserved(f"{path}.expression")
    claim = _text(fields.get("claim"), f"{path}.claim")
    if prefixed and claim and fields.get("prefix") is None:
        raise AuthenticationConfigError(
            f"{path}.prefix: Required value: prefix is required when claim is set. "
            "It can be set to an empty string to disable prefixing"
        )
    return claim, _text(fields.get("prefix"), f"{path}.prefix")


def _required(value: Any, path: str) -> dict[str, str]:
    required: dict[str, str] = {}
    for index, rule in enumerate(_list(value, path)):
        at = f"{path}[{index}]"
        fields = _mapping(rule, at, "claim", "requiredValue", "expression", "message")
        if fields.get("expression"):
            raise _unserved(f"{at}.expression")
        claim = _text(fields.get("claim"), f"{at}.claim")
        if not claim:
            raise AuthenticationConfigError(
                f"{at}: Required value: claim or expression is required"
            )
        required[claim] = _text(fields.get("requiredValue"), f"{at}.requiredValue")
    return required


def _anonymous(value: Any) -> AnonymousAccess:
    fields = _mapping(value, "anonymous", "enabled", "conditions")
    enabled = fields.get("enabled", False)
    if not isinstance(enabled, bool):
        raise _invalid("anonymous.enabled", "must be true or false")
    conditions = _list(fields.get("conditions"), "anonymous.conditions")
    if conditions and not enabled:
        raise _invalid("anonymous.conditions", "enabled should be set to true when conditions are")
    paths = [
        _text(_mapping(item, f"anonymous.conditions[{index}]", "path").get("path"), "path")
        for index, item in enumerate(conditions)
    ]
    if any(not path.startswith("/") for path in paths):
        raise _invalid("anonymous.conditions", "a path begins with a slash")
    if not enabled:
        return AnonymousAccess(enabled=False)
    return AnonymousAccess(paths=frozenset(paths)) if paths else EVERYWHERE


def _mapping(value: Any, path: str, *known: str) -> dict[str, Any]:
    where = f"{path}: " if path else ""
    if value is None and path:
        return {}
    if not isinstance(value, dict):
        raise AuthenticationConfigError(f"{where}Invalid value: must be an object")
    for field in value:
        if field not in known:
            raise AuthenticationConfigError(f'{where}unknown field "{str(field)[:64]}"')
    return value


def _list(value: Any, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _invalid(path, "must be a list")
    return value


def _text(value: Any, path: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _invalid(path, "must be a string")
    return value


def _invalid(path: str, problem: str) -> AuthenticationConfigError:
    return AuthenticationConfigError(f"{path}: Invalid value: {problem}")


def _unserved(path: str) -> AuthenticationConfigError:
    return AuthenticationConfigError(f"{path}: Forbidden: CEL expressions are not served here")
