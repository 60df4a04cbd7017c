"""EncryptionConfiguration: what covers which resource, and how wrong files are refused."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.storage.encryption_config import (
    Encryption,
    EncryptionConfigError,
    Rule,
    parse,
)
from apiserver.storage.encryption_file import EncryptionFile
from kubraft.credentials import encryption_config

HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"
SECRET = base64.b64encode(b"k" * 32).decode()


def config(resources: str = "[secrets]", providers: str = "[{identity: {}}]") -> str:
    return f"{HEAD}resources: [{{resources: {resources}, providers: {providers}}}]"


def key(provider: str = "aesgcm", secret: str = SECRET, name: str = "a") -> str:
    return f"[{{{provider}: {{keys: [{{name: {name!r}, secret: {secret!r}}}]}}}}]"


def test_the_file_of_make_up_is_good() -> None:
    found = parse(encryption_config(b"k" * 32), os.urandom)

    ring = found.find("", "secrets")
    assert ring is not None
    assert ring.seal(b"x", b"k").startswith(b"k8s:enc:aesgcm:v1:key1:")
    assert found.find("", "configmaps") is None


@pytest.mark.parametrize(
    ("named", "group", "resource", "covered"),
    [
        ("secrets", "", "secrets", True),
        ("secrets", "example.com", "secrets", False),
        ("deployments.apps", "apps", "deployments", True),
        ("'*.'", "", "configmaps", True),
        ("'*.'", "apps", "deployments", False),
        ("'*.apps'", "apps", "replicasets", True),
        ("'*.*'", "batch", "jobs", True),
    ],
)
def test_wildcards(named: str, group: str, resource: str, covered: bool) -> None:
    found = parse(config(f"[{named}]", key()), os.urandom)

    assert (found.find(group, resource) is not None) == covered


def test_the_first_rule_that_covers_a_resource_decides() -> None:
    text = (
        f"{HEAD}resources:\n"
        f"- {{resources: [secrets], providers: {key(name='one')}}}\n"
        f"- {{resources: ['*.*'], providers: {key(name='two')}}}\n"
    )
    found = parse(text, os.urandom)

    one, two = found.find("", "secrets"), found.find("", "pods")
    assert one is not None
    assert b":one:" in one.seal(b"", b"")
    assert two is not None
    assert b":two:" in two.seal(b"", b"")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "not YAML, line 1", id="no YAML"),
        pytest.param("[]", "Invalid value: must be an object", id="no object"),
        pytest.param("kind: Pod", 'kind: Invalid value: "Pod"', id="another kind"),
        pytest.param(f"{HEAD}", "resources: Required value: at least one resources", id="none"),
        pytest.param(
            config(providers="[]"),
            "resources[0].providers: Required value: at least one resources[0].providers "
            "is required",
            id="no provider",
        ),
        pytest.param(
            config(providers=key(secret="c2hvcnQ=")),
            'resources[0].providers[0].aesgcm.keys[0].secret: Invalid value: "REDACTED": '
            "secret is not of the expected length, got 5, expected one of [16 24 32]",
            id="short key",
        ),
        pytest.param(
            config(providers=key("secretbox", base64.b64encode(b"k" * 16).decode())),
            'secretbox.keys[0].secret: Invalid value: "REDACTED": secret is not of the expected '
            "length, got 16, expected one of [32]",
            id="secretbox takes one length",
        ),
        pytest.param(
            config(providers=key(secret="no base64!")),
            "secrets must be base64 encoded",
            id="no base64",
        ),
        pytest.param(
            config(providers="[{aescbc: {keys: [{secret: QQ==}]}}]"),
            "resources[0].providers[0].aescbc.keys[0].name: Required value: "
            "name is a mandatory field for a key",
            id="no name",
        ),
        pytest.param(
            config(providers="[{aescbc: {keys: []}}]"),
            "resources[0].providers[0].aescbc.keys: Required value: at least one keys is required",
            id="no keys",
        ),
        pytest.param(
            config(providers="[{identity: {}, aesgcm: {}}]"),
            "resources[0].providers[0]: Invalid value: more than one provider specified",
            id="two providers in one",
        ),
        pytest.param(
            config(providers="[{kms: {name: x}}]"),
            "resources[0].providers[0].kms: Forbidden: KMS plugins are not served",
            id="KMS",
        ),
        pytest.param(
            config(providers="[{aesgmc: {}}]"), 'unknown field "aesgmc"', id="misspelt provider"
        ),
        pytest.param(
            config("['*']"),
            "resources[0].resources[0]: Invalid value: \"*\": use '*.' to encrypt all",
            id="bare star",
        ),
        pytest.param(
            config("[Secrets]"), "resource name should not contain capital letters", id="capitals"
        ),
        pytest.param(
            config("[secrets, secrets]"), "cannot be specified multiple times", id="twice"
        ),
        pytest.param(config("[secrets, '*.']"), "overlapping resources", id="overlap"),
        pytest.param(config("[secrets, '*.*']"), "overlapping resources", id="overlap with all"),
        pytest.param(config("['secrets.*']"), "across groups is not supported", id="any group"),
        pytest.param(config("[events.events.k8s.io]"), "Use 'events' instead", id="events"),
    ],
)
def test_wrong_files_are_refused_by_field(text: str, message: str) -> None:
    with pytest.raises(EncryptionConfigError) as caught:
        parse(text, os.urandom)

    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


@given(text=st.text(max_size=200) | st.text(max_size=200).map(HEAD.__add__))
def test_no_text_does_worse_than_to_be_refused(text: str) -> None:
    with contextlib.suppress(EncryptionConfigError):
        parse(text, os.urandom)


def test_errors_name_flag_and_file(tmp_path: Path) -> None:
    path = tmp_path / "encryption.yaml"
    with pytest.raises(ValueError, match=f"--encryption-provider-config {path}: No such file"):
        EncryptionFile(path).read()
    path.write_text("kind: Pod")
    with pytest.raises(ValueError, match=f"--encryption-provider-config {path}: kind: Invalid"):
        EncryptionFile(path).read()


async def test_a_changed_file_is_taken_over_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "encryption.yaml"
    path.write_text(config(providers=key(name="one")))
    file = EncryptionFile(path)
    file.read()
    used: list[Encryption] = []
    following = asyncio.create_task(file.follow(used.append, poll_s=0.01))
    path.write_text("kind: Pod")
    await asyncio.sleep(0.1)
    assert not used
    path.write_text(config(providers=key(name="two")))
    async with asyncio.timeout(30):
        while not used:  # noqa: ASYNC110 - polled, as the file is
            await asyncio.sleep(0.01)
    following.cancel()

    ring = used[0].find("", "secrets")
    assert ring is not None
    assert b":two:" in ring.seal(b"", b"")


def test_rules_match_group_and_resource() -> None:
    ring = parse(config(), os.urandom).find("", "secrets")
    assert ring is not None
    assert Rule((("*", "apps"),), ring).covers("apps", "deployments")
