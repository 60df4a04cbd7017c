"""Where the next page of a list begins, as an opaque string that a client hands back."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import orjson

from kubraft.api.errors import BadRequestError


class Continue(NamedTuple):
    """The revision of the whole list, and the key after which the next page begins (exclusive).

    Below 0: whatever revision is current, as the one of the pages before is gone.
    """

    revision: int
    after: str


def encode(token: Continue) -> str:
    """The token as clients see it."""
    content = {"v": "meta.k8s.io/v1", "rv": token.revision, "start": token.after}
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def decode(text: str, prefix: str) -> Continue:
    """Read a token back; its key must lie below `prefix`, as clients may have made it up.

    Raises:
        BadRequestError: it is not one of ours.
    """
    try:
        padded = text + "=" * (-len(text) % 4)
        content = orjson.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        token = Continue(int(content["rv"]), str(content["start"]))
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise BadRequestError("continue key is not valid: cannot be decoded") from error
    if token.revision == 0 or not token.after.startswith(prefix):
        raise BadRequestError("continue key is not valid: it belongs to another list")
    return token
