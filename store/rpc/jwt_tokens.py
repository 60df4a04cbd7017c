"""JSON Web Tokens for `--auth-token jwt,...`: signed by one member, checked by all.

Options are etcd's: `sign-method` (RS, PS, ES and HS with 256, 384 or 512, or EdDSA), `priv-key`
and `pub-key` (files; with a public key alone tokens are only checked), `ttl` (5m). Claims are
etcd's too: username, revision, exp. Source: etcd, server/auth (jwt.go, options.go).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store import flags
from store.flag_error import FlagError
from store.mvcc.command import Identity

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

_FAMILIES = ("RS", "PS", "ES", "HS")
_SIZES = ("256", "384", "512")
SIGN_METHODS = (*(family + size for family in _FAMILIES for size in _SIZES), "EdDSA")
_FLAG = "auth-token"
_TTL_DEFAULT = "5m"


class JwtTokens:
    def __init__(
        self,
        method: str,
        key: ECKey | OctKey | OKPKey | RSAKey,
        *,
        ttl_s: float,
        now: Callable[[], float],
    ) -> None:
        """`now` is in seconds since 1970."""
        # OpenSSH names the curve, JOSE the algorithm.
        self._method = "Ed25519" if method == "EdDSA" else method
        self._key = key
        self._ttl_s = ttl_s
        self._now = now

    @property
    def can_sign(self) -> bool:
        return bool(self._key.is_private)

    def sign(self, who: Identity) -> str:
        from joserfc import jwt  # noqa: PLC0415  # only where JWT is asked for

        claims: dict[str, Any] = {
            "username": who.user,
            "revision": who.auth_revision,
            "exp": int(self._now() + self._ttl_s),
        }
        return jwt.encode({"alg": self._method}, claims, self._key, algorithms=[self._method])

    def identity_of(self, token: str) -> Identity | None:
        """Who a valid token speaks for; None for any other."""
        from joserfc import jwt  # noqa: PLC0415
        from joserfc.errors import JoseError  # noqa: PLC0415

        try:
            claims = jwt.decode(token, self._key, algorithms=[self._method]).claims
        except (JoseError, ValueError):
            return None
        user, revision, expires = (claims.get(name) for name in ("username", "revision", "exp"))
        if not isinstance(user, str) or not isinstance(revision, int):
            return None
        if not isinstance(expires, int | float) or expires <= self._now():
            return None
        return Identity(user, revision)


def open_tokens(options: str, *, now: Callable[[], float]) -> JwtTokens:
    """From the options behind `jwt,`.

    Raises:
        FlagError: an option is unknown or missing, or a file is not the key it should be.
    """
    named: dict[str, str] = {}
    for pair in options.split(","):
        name, _, value = pair.partition("=")
        if name not in {"sign-method", "priv-key", "pub-key", "ttl"} or not value or name in named:
            raise FlagError(f"--{_FLAG}: {pair!r} is not an option of jwt")
        named[name] = value
    method = named.get("sign-method", "")
    if method not in SIGN_METHODS:
        raise FlagError(f"--{_FLAG}: sign-method {method!r} is none of {', '.join(SIGN_METHODS)}")
    path = named.get("priv-key") or named.get("pub-key")
    if path is None:
        raise FlagError(f"--{_FLAG}: jwt needs priv-key or pub-key")
    ttl_s = flags.duration_s(_FLAG, named.get("ttl", _TTL_DEFAULT))
    return JwtTokens(method, _read_key(method, Path(path)), ttl_s=ttl_s, now=now)


def _read_key(method: str, path: Path) -> ECKey | OctKey | OKPKey | RSAKey:
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey  # noqa: PLC0415

    try:
        data = path.read_bytes()
        if method.startswith("HS"):
            return OctKey.import_key(data)
        if method.startswith("ES"):
            return ECKey.import_key(data)
        return OKPKey.import_key(data) if method == "EdDSA" else RSAKey.import_key(data)
    except OSError as error:
        raise FlagError(f"--{_FLAG}: {path}: {error.strerror}") from error
    except (JoseError, ValueError) as error:
        raise FlagError(f"--{_FLAG}: {path}: not a key for {method}") from error
