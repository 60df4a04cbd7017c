from __future__ import annotations

import asyncio
import random

from store.raft.link import Caller, Link


async def test_a_wrong_url_is_no_reason_to_give_up() -> None:
    def ignore(_peer: int) -> None:
        pass

    link = Link(
        Caller(cluster_id=1, member_id=1, tls=None),
        2,
        ["http://127.0.0.1:port"],
        rng=random.Random(1),
        on_up=ignore,
        on_down=ignore,
        on_heard=ignore,
        on_removed=lambda: None,
    )
    ended, _ = await asyncio.wait({link._task}, timeout=0.2)
    assert not ended
    await link.close()
