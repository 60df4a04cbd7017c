"""How one value is kept secret in the store: the providers of an EncryptionConfiguration.

Bytes are upstream's, so that what kube-apiserver wrote is read here and the other way round:
`k8s:enc:PROVIDER:v1:KEYNAME:` and then nonce and ciphertext. Pure but for the nonces, which are
asked of a source that is passed in.

Source: Kubernetes documentation, "Encrypting Confidential Data at Rest"; NIST SP 800-38D (GCM).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

ENCRYPTED: Final = b"k8s:enc:"
AES_KEY_BYTES: Final = (16, 24, 32)
SECRETBOX_KEY_BYTES: Final = (32,)
_GCM_NONCE_BYTES: Final = 12
_BLOCK_BYTES: Final = 16

Random = Callable[[int], bytes]


class UndecipherableError(ValueError):
    """Stored bytes fit no key that there is; the message holds nothing of bytes or keys."""


class Provider(Protocol):
    """One way of keeping a value; `prefix` is in front of what it wrote.

    `identity` tells two keys of the same name apart and gives nothing of the key away.
    """

    @property
    def prefix(self) -> bytes: ...

    @property
    def identity(self) -> bytes: ...

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        """What follows the prefix. `context` is the store's key of the value."""
        ...

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        """The plain bytes of what followed the prefix; raises UndecipherableError."""
        ...


class _Keyed:
    """What all providers with a key have: name and key make prefix and identity."""

    provider = ""

    def __init__(self, name: str, secret: bytes, random: Random) -> None:
        self.prefix: Final = ENCRYPTED + f"{self.provider}:v1:{name}:".encode()
        self.identity: Final = self.prefix + sha256(self.prefix + secret).digest()[:8]
        self._random = random


class AesGcm(_Keyed):
    """AES-GCM. The store's key is authenticated: a value moved to another key does not open."""

    provider = "aesgcm"

    def __init__(self, name: str, secret: bytes, random: Random) -> None:
        super().__init__(name, secret, random)
        self._aead = AESGCM(secret)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        nonce = self._random(_GCM_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, context)

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        nonce, sealed = data[:_GCM_NONCE_BYTES], data[_GCM_NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, sealed, context)
        except (InvalidTag, ValueError) as error:
            raise UndecipherableError("cipher: message authentication failed") from error


class AesCbc(_Keyed):
    """AES-CBC with PKCS #7 padding; authenticates nothing, kept for stores that were so written."""

    provider = "aescbc"

    def __init__(self, name: str, secret: bytes, random: Random) -> None:
        super().__init__(name, secret, random)
        self._aes = algorithms.AES(secret)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        del context
        vector = self._random(_BLOCK_BYTES)
        padder = PKCS7(_BLOCK_BYTES * 8).padder()
        encryptor = Cipher(self._aes, modes.CBC(vector)).encryptor()
        padded = padder.update(plain) + padder.finalize()
        return vector + encryptor.update(padded) + encryptor.finalize()

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        del context
        vector, sealed = data[:_BLOCK_BYTES], data[_BLOCK_BYTES:]
        try:
            decryptor = Cipher(self._aes, modes.CBC(vector)).decryptor()
            padded = decryptor.update(sealed) + decryptor.finalize()
            unpadder = PKCS7(_BLOCK_BYTES * 8).unpadder()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError as error:
            raise UndecipherableError("invalid padding on input") from error


class Secretbox(_Keyed):
    """XSalsa20 and Poly1305, as NaCl puts them together."""

    provider = "secretbox"

    def __init__(self, name: str, secret: bytes, random: Random) -> None:
        super().__init__(name, secret, random)
        self._box = SecretBox(secret)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        del context
        return bytes(self._box.encrypt(plain, self._random(SecretBox.NONCE_SIZE)))

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        del context
        try:
            return self._box.decrypt(data)
        except (CryptoError, ValueError) as error:
            raise UndecipherableError("output array was not large enough for decryption") from error


class Identity:
    """Plain bytes; it does not pass off what another provider wrote as plain."""

    prefix: Final = b""
    identity: Final = b""

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        del context
        return plain

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        del context
        if data.startswith(ENCRYPTED):
            raise UndecipherableError("identity transformer tried to read encrypted data")
        return data


class Opened(NamedTuple):
    """A value's plain bytes, and the identity of the provider that had written it."""

    plain: bytes
    identity: bytes


class Ring:
    """The providers of one resource: the first one writes, all of them read."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        """`providers` is not empty."""
        self._providers = tuple(providers)
        self._first = self._providers[0]

    @property
    def identity(self) -> bytes:
        """Of the provider that writes."""
        return self._first.identity

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """The bytes to store under the key `context`."""
        return self._first.prefix + self._first.encrypt(plain, context)

    def open(self, stored: bytes, context: bytes) -> Opened:
        """The plain bytes of a stored value.

        Raises:
            UndecipherableError: no provider has that prefix, or none of them that key.
        """
        failed: UndecipherableError | None = None
        for provider in self._providers:
            if not stored.startswith(provider.prefix):
                continue
            try:
                plain = provider.decrypt(stored[len(provider.prefix) :], context)
            except UndecipherableError as error:
                failed = error if provider.prefix else failed
            else:
                return Opened(plain, provider.identity)
        raise failed or UndecipherableError("no matching prefix found")
