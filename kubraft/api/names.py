"""What names may look like. Each rule answers with the messages of upstream, empty when fine.

Source: Kubernetes documentation, "Object Names and IDs" and "Labels and Selectors"; RFC 1123,
RFC 1035, RFC 6335 (port names). The messages are those that Kubernetes prints.
"""

from __future__ import annotations

import ipaddress
import re
from random import Random

LABEL_LENGTH_MAX = 63
SUBDOMAIN_LENGTH_MAX = 253
PORT_NAME_LENGTH_MAX = 15

_DNS1123_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS1123_SUBDOMAIN = _DNS1123_LABEL + r"(\." + _DNS1123_LABEL + r")*"
_DNS1035_LABEL = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = "(" + _QUALIFIED_NAME + ")?"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"

_WITH_PREFIX = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
_ENV_NAME_RULE = (
    "a valid environment variable name must consist only of printable ASCII characters other "
    "than '='"
)

# Letters of generated names: no vowels and no look-alikes, so that no words come up.
_SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED_SUFFIX_LENGTH = 5


class _Pattern:
    """A rule by regular expression with the message that says so."""

    def __init__(self, regex: str, rule: str, *examples: str) -> None:
        self._matches = re.compile(regex).fullmatch
        shown = " or ".join(f"'{example}', " for example in examples)
        self.message = f"{rule} (e.g. {shown}regex used for validation is '{regex}')"

    def __call__(self, text: str) -> bool:
        return self._matches(text) is not None


_LABEL = _Pattern(
    _DNS1123_LABEL,
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character",
    "my-name",
    "123-abc",
)
_SUBDOMAIN = _Pattern(
    _DNS1123_SUBDOMAIN,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character",
    "example.com",
)
_LABEL_1035 = _Pattern(
    _DNS1035_LABEL,
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character",
    "my-name",
    "abc-123",
)
_NAME_PART = _Pattern(
    _QUALIFIED_NAME,
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character",
    "MyName",
    "my.name",
    "123-abc",
)
_VALUE = _Pattern(
    _LABEL_VALUE,
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character",
    "MyValue",
    "my_value",
    "12345",
)
_KEY_OF_CONFIG = _Pattern(
    _CONFIG_KEY,
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    "key.name",
    "KEY_NAME",
    "key-name",
)


def _too_long(text: str, length_max: int) -> list[str]:
    return [f"must be no more than {length_max} characters"] if len(text) > length_max else []


def dns1123_label_errors(text: str) -> list[str]:
    """Errors of an RFC 1123 label: Namespaces, containers, volumes."""
    return _too_long(text, LABEL_LENGTH_MAX) + ([] if _LABEL(text) else [_LABEL.message])


def dns1123_subdomain_errors(text: str) -> list[str]:
    """Errors of an RFC 1123 subdomain: the names of most kinds."""
    errors = _too_long(text, SUBDOMAIN_LENGTH_MAX)
    return errors + ([] if _SUBDOMAIN(text) else [_SUBDOMAIN.message])


def dns1035_label_errors(text: str) -> list[str]:
    """Errors of an RFC 1035 label: Services."""
    return _too_long(text, LABEL_LENGTH_MAX) + ([] if _LABEL_1035(text) else [_LABEL_1035.message])


def path_segment_errors(text: str) -> list[str]:
    """Errors of a name that only has to fit one segment of a URL: the RBAC kinds."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in text]


def qualified_name_errors(text: str) -> list[str]:
    """Errors of "name" or "prefix/name": the keys of labels, annotations and resources."""
    errors: list[str] = []
    prefix, slash, name = text.partition("/")
    if not slash:
        prefix, name = "", text
    elif "/" in name:
        return [f"a qualified name {_NAME_PART.message} {_WITH_PREFIX}"]
    elif not prefix:
        errors.append("prefix part must be non-empty")
    else:
        errors += [f"prefix part {error}" for error in dns1123_subdomain_errors(prefix)]
    if not name:
        errors.append("name part must be non-empty")
    else:
        errors += [f"name part {error}" for error in _too_long(name, LABEL_LENGTH_MAX)]
    if not _NAME_PART(name):
        errors.append(f"name part {_NAME_PART.message}")
    return errors


def label_value_errors(text: str) -> list[str]:
    """Errors of the value of a label."""
    return _too_long(text, LABEL_LENGTH_MAX) + ([] if _VALUE(text) else [_VALUE.message])


def config_key_errors(text: str) -> list[str]:
    """Errors of a key of a ConfigMap or Secret, which may become a file name."""
    errors = _too_long(text, SUBDOMAIN_LENGTH_MAX)
    if not _KEY_OF_CONFIG(text):
        errors.append(_KEY_OF_CONFIG.message)
    if text in (".", ".."):
        errors.append(f"must not be '{text}'")
    elif text.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def env_name_errors(text: str) -> list[str]:
    """Errors of the name of an environment variable: printable ASCII other than '='."""
    if text and all(" " <= sign <= "~" and sign != "=" for sign in text):
        return []
    return [_ENV_NAME_RULE]


def port_name_errors(text: str) -> list[str]:
    """Errors of the name of a port (RFC 6335, section 5.1)."""
    errors = _too_long(text, PORT_NAME_LENGTH_MAX)
    if re.fullmatch(r"[-a-z0-9]*", text) is None:
        errors.append("must contain only alphanumeric characters (a-z, 0-9), and hyphens (-)")
    if re.search(r"[a-z]", text) is None:
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def port_number_errors(port: int) -> list[str]:
    """Errors of a port number."""
    return [] if 1 <= port <= 65535 else ["must be between 1 and 65535, inclusive"]


def ip_errors(text: str) -> list[str]:
    """Errors of an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


def generate_name(base: str, rng: Random) -> str:
    """`base` with a random suffix of five letters, cut so that the whole fits 63 characters."""
    suffix = "".join(rng.choice(_SAFE_LETTERS) for _ in range(_GENERATED_SUFFIX_LENGTH))
    return base[: LABEL_LENGTH_MAX - _GENERATED_SUFFIX_LENGTH] + suffix


def safe_encode(text: str) -> str:
    """Map each character of `text` to a safe letter, for hashes inside names."""
    return "".join(_SAFE_LETTERS[ord(sign) % len(_SAFE_LETTERS)] for sign in text)
