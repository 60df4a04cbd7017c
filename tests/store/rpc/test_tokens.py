"""Tokens and passwords: what is good, for how long, and options that are wrong."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.flag_error import FlagError
from store.mvcc.auth.errors import InvalidAuthTokenError
from store.mvcc.command import Identity
from store.rpc.jwt_tokens import open_tokens
from store.rpc.passwords import hash_password, is_password
from store.rpc.simple_tokens import SimpleTokens, random_part
from tests.store.rpc.one_member import OneMember


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_simple_token_lives_as_long_as_it_is_used() -> None:
    clock = Clock()
    tokens = SimpleTokens(ttl_s=10.0, now=clock)
    tokens.add("ann", "a.1")
    tokens.add("bob", "b.2")
    clock.now += 9.0
    assert tokens.user_of("a.1") == "ann"
    clock.now += 9.0
    assert tokens.user_of("a.1") == "ann"
    assert tokens.user_of("b.2") is None
    tokens.forget("ann")
    assert tokens.user_of("a.1") is None
    assert random_part() != random_part()


def key_files(directory: Path, kind: str) -> tuple[Path, Path]:
    if kind == "HS256":
        (directory / "key").write_bytes(b"a secret of some length, 32 bytes")
        return directory / "key", directory / "key"
    make: dict[str, Callable[[], Any]] = {
        "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "PS384": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }
    key = make[kind]()
    (directory / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (directory / "pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return directory / "key", directory / "pub"


@pytest.mark.parametrize("method", ["RS256", "PS384", "ES256", "EdDSA", "HS256"])
def test_a_jwt_is_good_for_its_time_and_its_key(tmp_path: Path, method: str) -> None:
    clock = Clock()
    private, public = key_files(tmp_path, method)
    signer = open_tokens(f"sign-method={method},priv-key={private},ttl=10s", now=clock)
    verifier = open_tokens(f"sign-method={method},pub-key={public}", now=clock)
    assert signer.can_sign
    assert verifier.can_sign == (method == "HS256")
    token = signer.sign(Identity("ann", 3))
    assert signer.identity_of(token) == Identity("ann", 3)
    assert verifier.identity_of(token) == Identity("ann", 3)
    assert verifier.identity_of(token[:-4] + "AAAA") is None
    assert verifier.identity_of("nonsense") is None
    clock.now += 11.0
    assert verifier.identity_of(token) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param("sign-method=RS256", "needs priv-key", id="no key"),
        pytest.param("sign-method=none,priv-key=x", "sign-method 'none'", id="method"),
        pytest.param("priv-key=x", "sign-method ''", id="no method"),
        pytest.param("sign-method=RS256,priv-key=/no/such", "No such file", id="no file"),
        pytest.param("sign-method=RS256,odd=1", "'odd=1'", id="unknown option"),
        pytest.param("sign-method=RS256,priv-key={junk}", "not a key for RS256", id="junk"),
    ],
)
def test_wrong_options_of_jwt_are_named(tmp_path: Path, options: str, message: str) -> None:
    junk = tmp_path / "junk"
    junk.write_text("junk")
    with pytest.raises(FlagError, match="--auth-token") as refused:
        open_tokens(options.format(junk=junk), now=Clock())
    assert message in str(refused.value)


async def test_a_password_is_known_by_its_hash_only() -> None:
    stored = await hash_password("secret", cost=4)
    assert "secret" not in stored
    assert stored != await hash_password("secret", cost=4)
    assert await is_password("secret", stored.encode())
    for password, kept in (("Secret", stored), ("", stored), ("", ""), ("secret", "scrypt$x")):
        assert not await is_password(password, kept.encode())


async def test_a_token_that_another_member_handed_out_just_now_is_known_here(
    tmp_path: Path,
) -> None:
    member = OneMember(tmp_path / "state")
    for request in (
        pb.AuthUserAddRequest(name="root", hashedPassword=b64encode(b"x").decode()),
        pb.AuthRoleAddRequest(name="root"),
        pb.AuthUserGrantRoleRequest(user="root", role="root"),
        pb.AuthEnableRequest(),
    ):
        member.driver.reply(request)
    member.log.elsewhere(pb.AuthenticateRequest(name="root", password="abc"))
    token = f"abc.{len(member.driver.log) + 1}"
    assert await caller(member, token) == "root"
    # What nobody handed out is unknown after a look, and without one where nobody can be asked.
    with pytest.raises(InvalidAuthTokenError):
        await caller(member, "abc.999999")
    member.log.has_quorum = False
    with pytest.raises(InvalidAuthTokenError):
        await caller(member, "xyz.999999")
    assert await caller(member, token) == "root"
    member.driver.close()


async def caller(member: OneMember, token: str) -> str:
    """Who a call with that token is taken to be from."""
    context = SimpleNamespace(invocation_metadata=lambda: (("token", token),))
    await member.services.enter(context)  # type: ignore[arg-type]
    return member.services.callers.identity().user
