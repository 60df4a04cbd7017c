from collections.abc import Callable
from random import Random

import pytest

from kubraft.api import names

Rule = Callable[[str], list[str]]

LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
ENV_RULE = (
    "a valid environment variable name must consist only of printable ASCII characters other than "
    "'='"
)


@pytest.mark.parametrize(
    ("rule", "text", "errors"),
    [
        pytest.param(names.dns1123_label_errors, "web-0", [], id="label"),
        pytest.param(names.dns1123_label_errors, "Web", [LABEL_RULE], id="label: capital"),
        pytest.param(names.dns1123_label_errors, "web\n", [LABEL_RULE], id="label: newline"),
        pytest.param(
            names.dns1123_label_errors,
            "a" * 64,
            ["must be no more than 63 characters"],
            id="label: too long",
        ),
        pytest.param(names.dns1123_subdomain_errors, "a.b-c.d", [], id="subdomain"),
        pytest.param(
            names.dns1123_subdomain_errors, "a..b", [SUBDOMAIN_RULE], id="subdomain: empty part"
        ),
        pytest.param(names.qualified_name_errors, "app.kubernetes.io/name", [], id="qualified"),
        pytest.param(names.qualified_name_errors, "App_1", [], id="qualified: no prefix"),
        pytest.param(names.qualified_name_errors, "a b", [NAME_RULE], id="qualified: space"),
        pytest.param(
            names.qualified_name_errors,
            "/name",
            ["prefix part must be non-empty"],
            id="qualified: empty prefix",
        ),
        pytest.param(
            names.qualified_name_errors,
            "",
            ["name part must be non-empty", NAME_RULE],
            id="qualified: empty",
        ),
        pytest.param(names.label_value_errors, "", [], id="label value: empty"),
        pytest.param(names.path_segment_errors, "system:node", [], id="path segment"),
        pytest.param(
            names.path_segment_errors,
            "a/b%",
            ["may not contain '/'", "may not contain '%'"],
            id="path segment: slash and percent",
        ),
        pytest.param(
            names.config_key_errors, "..x", ["must not start with '..'"], id="config key: dots"
        ),
        pytest.param(names.port_name_errors, "http-1", [], id="port"),
        pytest.param(
            names.port_name_errors,
            "8080",
            ["must contain at least one letter (a-z)"],
            id="port: no letter",
        ),
        pytest.param(
            names.port_name_errors,
            "a--b-",
            ["must not contain consecutive hyphens", "must not begin or end with a hyphen"],
            id="port: hyphens",
        ),
        pytest.param(names.env_name_errors, "MY.VAR-1", [], id="env"),
        pytest.param(
            names.env_name_errors,
            "A=B",
            [ENV_RULE],
            id="env: equals sign",
        ),
        pytest.param(names.ip_errors, "::1", [], id="ip"),
    ],
)
def test_names_are_judged_in_upstreams_words(rule: Rule, text: str, errors: list[str]) -> None:
    assert rule(text) == errors


def test_generated_names_fit_and_are_valid() -> None:
    name = names.generate_name("x" * 80, Random(1))
    assert len(name) == 63
    assert names.dns1123_label_errors(name) == []
    assert names.generate_name("web-", Random(1)) != names.generate_name("web-", Random(2))
