"""An EncryptionConfiguration: which resources are kept how.

Pure: text in, rules out. Errors name the field, and never show a key.

Source: Kubernetes documentation, apiserver.config.k8s.io/v1 EncryptionConfiguration.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from apiserver.storage import ciphers
from apiserver.storage.ciphers import Identity, Provider, Random, Ring

API_VERSIONS: Final = ("apiserver.config.k8s.io/v1", "v1")
CONFIG_BYTES_MAX: Final = 1 << 20
_KEYED: Final[Mapping[str, tuple[type[Any], tuple[int, ...]]]] = {
    "aesgcm": (ciphers.AesGcm, ciphers.AES_KEY_BYTES),
    "aescbc": (ciphers.AesCbc, ciphers.AES_KEY_BYTES),
    "secretbox": (ciphers.Secretbox, ciphers.SECRETBOX_KEY_BYTES),
}
_PROVIDERS: Final = (*_KEYED, "identity", "kms")
# What has no REST API of its own, but would have a name in the store.
_NO_API: Final = ("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")

Named = tuple[str, str]  # resource, group; either may be "*"


class EncryptionConfigError(ValueError):
    """The configuration is not usable; the message names the field."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Some resources and how they are kept."""

    resources: tuple[Named, ...]
    ring: Ring

    def covers(self, group: str, resource: str) -> bool:
        return any(
            named_resource in ("*", resource) and named_group in ("*", group)
            for named_resource, named_group in self.resources
        )


class Encryption:
    """The rules in their order: the first that covers a resource decides."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules

    def find(self, group: str, resource: str) -> Ring | None:
        """How a resource is kept; None where no rule covers it, which is plain."""
        return next((r.ring for r in self._rules if r.covers(group, resource)), None)


def parse(text: str, random: Random) -> Encryption:
    """Read a configuration in YAML or JSON.

    Args:
        random: the source of nonces; must be fit for cryptography.

    Raises:
        EncryptionConfigError: the first field that is wrong.
    """
    if len(text) > CONFIG_BYTES_MAX:
        raise EncryptionConfigError("the file is too large")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise EncryptionConfigError(f"not YAML{where}") from None
    config = _mapping(found, "", ("apiVersion", "kind", "metadata", "resources"))
    if config.get("kind") != "EncryptionConfiguration":
        raise _invalid("kind", config.get("kind"), "must be EncryptionConfiguration")
    if config.get("apiVersion") not in API_VERSIONS:
        raise _invalid("apiVersion", config.get("apiVersion"), f"must be {API_VERSIONS[0]}")
    return Encryption(
        tuple(
            _rule(item, f"resources[{index}]", random)
            for index, item in enumerate(_some(config.get("resources"), "resources", "resources"))
        )
    )


def _rule(item: Any, path: str, random: Random) -> Rule:
    fields = _mapping(item, path, ("resources", "providers"))
    at = f"{path}.resources"
    names = _some(fields.get("resources"), at, at)
    named = tuple(_resource(name, f"{at}[{index}]") for index, name in enumerate(names))
    _check_overlap(named, at, names)
    at = f"{path}.providers"
    providers = [
        provider
        for index, entry in enumerate(_some(fields.get("providers"), at, at))
        for provider in _providers(entry, f"{at}[{index}]", random)
    ]
    return Rule(named, Ring(providers))


def _resource(name: Any, path: str) -> Named:
    if not isinstance(name, str) or not name:
        raise _invalid(path, name, "must be the name of a resource")
    resource, _, group = name.partition(".")
    problem = ""
    if name != name.lower():
        problem = "resource name should not contain capital letters"
    elif name == "*":
        problem = (
            "use '*.' to encrypt all the resources from core API group or *.* "
            "to encrypt all resources"
        )
    elif name in _NO_API:
        problem = "resources which do not have REST API/s cannot be encrypted"
    elif group == "events.k8s.io":
        problem = (
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. "
            "Use 'events' instead in the config file"
        )
    elif group == "extensions":
        problem = "'extensions' group has been removed and cannot be used for encryption"
    elif group == "*" and resource != "*":
        problem = "encrypting the same resource across groups is not supported"
    if problem:
        raise _invalid(path, name, problem)
    return resource, group


def _check_overlap(named: tuple[Named, ...], path: str, shown: list[Any]) -> None:
    if len(set(named)) < len(named):
        raise _invalid(path, shown, "the same resource cannot be specified multiple times")
    every = ("*", "*") in named
    groups = [group for _, group in named]
    masked = any(resource == "*" and groups.count(group) > 1 for resource, group in named)
    if len(named) > 1 and (every or masked):
        raise _invalid(
            path,
            shown,
            "using overlapping resources such as 'secrets' and '*.' in the same resource list "
            "is not allowed as they will be masked",
        )


def _providers(entry: Any, path: str, random: Random) -> Iterator[Provider]:
    fields = _mapping(entry, path, _PROVIDERS)
    if len(fields) != 1:
        raise EncryptionConfigError(
            f"{path}: Invalid value: "
            + (
                "more than one provider specified in a single element, should split into "
                "different list elements"
                if fields
                else "provider does not contain any of the expected providers: "
                "KMS, AESGCM, AESCBC, Secretbox, Identity"
            )
        )
    (name,) = fields
    if name == "kms":
        raise EncryptionConfigError(f"{path}.kms: Forbidden: KMS plugins are not served")
    if name == "identity":
        yield Identity()
        return
    make, lengths = _KEYED[name]
    at = f"{path}.{name}"
    keys = _mapping(fields[name], at, ("keys",)).get("keys")
    for index, key in enumerate(_some(keys, f"{at}.keys", "keys")):
        yield make(*_key(key, f"{at}.keys[{index}]", lengths), random)


def _key(key: Any, path: str, lengths: tuple[int, ...]) -> tuple[str, bytes]:
    fields = _mapping(key, path, ("name", "secret"))
    for field in ("name", "secret"):
        value = fields.get(field)
        if value is None or value == "":
            raise EncryptionConfigError(
                f"{path}.{field}: Required value: {field} is a mandatory field for a key"
            )
        if not isinstance(value, str):
            raise EncryptionConfigError(f"{path}.{field}: Invalid value: must be a string")
    problem, secret = "", b""
    try:
        secret = base64.b64decode(fields["secret"], validate=True)
    except (binascii.Error, ValueError):
        problem = "secrets must be base64 encoded"
    else:
        if len(secret) not in lengths:
            expected = " ".join(map(str, lengths))
            problem = (
                f"secret is not of the expected length, got {len(secret)}, "
                f"expected one of [{expected}]"
            )
    if problem:
        raise EncryptionConfigError(f'{path}.secret: Invalid value: "REDACTED": {problem}')
    return fields["name"], secret


def _mapping(value: Any, path: str, known: tuple[str, ...]) -> dict[str, Any]:
    where = f"{path}: " if path else ""
    if not isinstance(value, dict):
        raise EncryptionConfigError(f"{where}Invalid value: must be an object")
    for field in value:
        if field not in known:
            # A misplaced key would be shown with its field's value only; the name is enough.
            raise EncryptionConfigError(f'{where}unknown field "{str(field)[:64]}"')
    return value


def _some(value: Any, path: str, what: str) -> list[Any]:
    if not value:
        raise EncryptionConfigError(f"{path}: Required value: at least one {what} is required")
    if not isinstance(value, list):
        raise EncryptionConfigError(f"{path}: Invalid value: must be a list")
    return value


def _invalid(path: str, value: Any, problem: str) -> EncryptionConfigError:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return EncryptionConfigError(f"{path}: Invalid value: {shown[:256]}: {problem}")
