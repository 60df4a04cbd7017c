"""Values at rest: the exact bytes, and what becomes of bytes that do not fit."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from apiserver.storage.ciphers import (
    AesCbc,
    AesGcm,
    Identity,
    Provider,
    Ring,
    Secretbox,
    UndecipherableError,
)

KEY, OTHER = b"k" * 32, b"o" * 32
HERE = b"/registry/secrets/default/a"
KEYED = (AesGcm, AesCbc, Secretbox)


def test_layout_is_prefix_nonce_and_ciphertext_bound_to_the_key_of_the_store() -> None:
    stored = Ring([AesGcm("key1", KEY, lambda n: b"n" * n)]).seal(b"plain", HERE)

    assert stored == b"k8s:enc:aesgcm:v1:key1:" + b"n" * 12 + AESGCM(KEY).encrypt(
        b"n" * 12, b"plain", HERE
    )


@pytest.mark.parametrize(
    ("make", "size"), [(AesGcm, 12 + 5 + 16), (AesCbc, 16 + 16), (Secretbox, 24 + 16 + 5)]
)
def test_sizes_and_names_are_upstreams(make: Any, size: int) -> None:
    stored = Ring([make("a", KEY, os.urandom)]).seal(b"plain", HERE)

    prefix = f"k8s:enc:{make.provider}:v1:a:".encode()
    assert stored.startswith(prefix)
    assert len(stored) == len(prefix) + size
    assert b"plain" not in stored


@pytest.mark.parametrize("make", KEYED)
@given(plain=st.binary(max_size=300))
def test_what_was_sealed_is_opened(make: Any, plain: bytes) -> None:
    ring = Ring([make("a", KEY, os.urandom), Identity()])

    opened = ring.open(ring.seal(plain, HERE), HERE)

    assert opened.plain == plain
    assert opened.identity == ring.identity


@pytest.mark.parametrize("make", [AesGcm, Secretbox])
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_flipped_bits_are_noticed(make: Any, at: int, bit: int) -> None:
    provider: Provider = make("a", KEY, os.urandom)
    sealed = bytearray(provider.encrypt(b"some plain text", HERE))
    sealed[at % len(sealed)] ^= 1 << bit

    with pytest.raises(UndecipherableError):
        provider.decrypt(bytes(sealed), HERE)


@pytest.mark.parametrize("make", KEYED)
@given(data=st.binary(max_size=64))
def test_no_bytes_do_worse_than_to_be_refused(make: Any, data: bytes) -> None:
    provider: Provider = make("a", KEY, os.urandom)

    with contextlib.suppress(UndecipherableError):
        provider.decrypt(data, HERE)


def test_a_value_that_was_moved_to_another_name_does_not_open() -> None:
    ring = Ring([AesGcm("a", KEY, os.urandom)])

    with pytest.raises(UndecipherableError):
        ring.open(ring.seal(b"x", HERE), b"/registry/secrets/default/b")


def test_the_first_provider_writes_and_all_read() -> None:
    old = Ring([AesCbc("a", KEY, os.urandom), Identity()])
    new = Ring([AesGcm("a", OTHER, os.urandom), AesCbc("a", KEY, os.urandom), Identity()])

    assert new.open(old.seal(b"x", HERE), HERE).plain == b"x"
    assert new.open(b'{"plain":1}', HERE).plain == b'{"plain":1}'
    assert new.open(old.seal(b"x", HERE), HERE).identity != new.identity


def test_keys_of_one_name_are_tried_in_turn() -> None:
    """As while a key is rotated whose name stays."""
    old = Ring([AesGcm("a", KEY, os.urandom)])
    both = Ring([AesGcm("a", OTHER, os.urandom), AesGcm("a", KEY, os.urandom)])

    opened = both.open(old.seal(b"x", HERE), HERE)

    assert opened.plain == b"x"
    assert opened.identity == old.identity != both.identity


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (b"k8s:enc:aesgcm:v1:gone:abc", "no matching prefix found"),
        (b"k8s:enc:aesgcm:v1:a:abc", "cipher: message authentication failed"),
        (b"", "no matching prefix found"),
    ],
)
def test_what_fits_no_key(stored: bytes, message: str) -> None:
    with pytest.raises(UndecipherableError, match=message):
        Ring([AesGcm("a", KEY, os.urandom)]).open(stored, HERE)


def test_identity_does_not_take_encrypted_bytes_for_plain() -> None:
    sealed = Ring([AesGcm("a", KEY, os.urandom)]).seal(b"x", HERE)

    with pytest.raises(UndecipherableError):
        Ring([Identity()]).open(sealed, HERE)
    assert Ring([Identity(), AesGcm("a", KEY, os.urandom)]).open(sealed, HERE).plain == b"x"
