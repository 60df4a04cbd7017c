"""Carries out a claim: adopts and releases, and says what is owned then."""

from __future__ import annotations

from agents.controllers.ownership import Claim, adopted, released
from kubraft.api.errors import ConflictError, InvalidError, NotFoundError
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object, is_terminating, key_of, uid_of
from kubraft.client.client import ApiClient


async def settle(client: ApiClient, owner: Object, claim: Claim) -> list[Object]:
    """Adopt and release as `claim` says.

    Returns:
        The objects that `owner` controls and selects now.

    Raises:
        ConflictError: one of the objects, or the owner, changed meanwhile: look again.
    """
    owned = list(claim.owned)
    for obj in claim.release:
        try:
            await client.update(released(obj, uid_of(owner)))
        except (NotFoundError, InvalidError):
            continue  # it is gone, or has become somebody else's
    if claim.adopt:
        await _check_alive(client, owner)
    for obj in claim.adopt:
        try:
            owned.append(await client.update(adopted(obj, owner)))
        except NotFoundError:
            continue
    return owned


async def _check_alive(client: ApiClient, owner: Object) -> None:
    """An owner that the cache shows may be gone: what it adopted then would be deleted with it."""
    key = key_of(owner)
    try:
        live = await client.get(gvk_of(owner), key.name, key.namespace)
    except NotFoundError:
        live = None
    if live is None or uid_of(live) != uid_of(owner) or is_terminating(live):
        raise ConflictError(f"{owner['kind']} {key} is being deleted and adopts nothing")
