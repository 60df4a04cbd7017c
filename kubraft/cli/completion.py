"""What the shell offers after TAB: kinds and names, asked of the API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from kubraft.cli.connection import resolve
from kubraft.home import Home

if TYPE_CHECKING:
    from kubraft.client.client import ApiClient

# A person waits for this.
TIMEOUT_S = 1.5


def complete_words(ctx: typer.Context, incomplete: str) -> list[str]:
    """Kinds for the first word, names of that kind for the next; nothing where it cannot say."""
    given = {**ctx.find_root().params, **ctx.params}
    words = [word for word in given.get("words") or () if word != incomplete]
    try:
        return asyncio.run(_complete(words, incomplete, given.get("namespace") or "default"))
    except Exception:  # noqa: BLE001 - a completion that fails must not disturb the typing
        return []


async def _complete(words: list[str], incomplete: str, namespace: str) -> list[str]:
    from kubraft.client.client import ApiClient  # noqa: PLC0415 - gRPC is most of the start

    connection = resolve(Home.from_environment())
    client = ApiClient(
        connection.server,
        ca_file=connection.ca_file,
        token=connection.token,
        connect_timeout_s=TIMEOUT_S,
        call_timeout_s=TIMEOUT_S,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _candidates(client, words, incomplete, namespace)
    finally:
        await client.close()


async def _candidates(
    client: ApiClient, words: list[str], incomplete: str, namespace: str
) -> list[str]:
    from kubraft.cli.kind_table import KindTable  # noqa: PLC0415

    kinds = KindTable(await client.kinds())
    slashed, slash, start = incomplete.partition("/")
    if not words and not slash:
        names = [kind.plural for kind in kinds]
        return [name for name in names if name.startswith(incomplete)]
    kind = kinds.get(slashed if slash else words[0].split(",")[0])
    found = await client.list(kind.gvk, namespace if kind.namespaced else "")
    prefix = f"{slashed}/" if slash else ""
    return [
        prefix + obj["metadata"]["name"]
        for obj in found.items
        if obj["metadata"]["name"].startswith(start if slash else incomplete)
    ]
