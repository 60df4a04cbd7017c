"""A whole server with more asked of it than it has seats for."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from pathlib import Path

from apiserver.flow.defaults import default_levels, default_schemas
from apiserver.storage.memory_store import MemoryStore
from tests.apiserver.in_process import Served, serving

PODS = "/api/v1/namespaces/default/configmaps/x"
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
GREEDY, SEATS, PLACES = 60, 4, 10


class GatedStore(MemoryStore):
    """Says its revision, which every read asks for, while the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def revision(self) -> int:
        await self.gate.wait()
        return await super().revision()


async def test_one_greedy_client_starves_neither_others_nor_agents(
    tmp_path: Path, pki: Path
) -> None:
    store = GatedStore()
    async with serving(tmp_path, pki, store=store) as served:
        await _prepare(served)
        served.server.flow.wait_s_max = 120.0  # however slow the machine is
        level = served.server.flow.levels["global-default"]
        store.gate.clear()
        greedy = [asyncio.create_task(served.ask("GET", PODS, token="bob-token"))
                  for _ in range(GREEDY)]  # fmt: skip
        async with asyncio.timeout(60):
            while level.in_use + level.waiting + sum(level.rejected.values()) < GREEDY:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        others = [
            asyncio.create_task(served.ask("GET", PODS, token=token))
            for token in ("ann-token", "scheduler-token", "admin-token-of-a-test") * 3
        ]
        await asyncio.sleep(0.05)
        store.gate.set()
        assert Counter([answer.status for answer in await asyncio.gather(*others)]) == {200: 9}
        answers = await asyncio.gather(*greedy)
        statuses = Counter(answer.status for answer in answers)
        assert statuses[200] == SEATS + PLACES
        assert statuses[429] == GREEDY - SEATS - PLACES
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["reason"] == "TooManyRequests"
        assert refused.json()["details"] == {"retryAfterSeconds": 1}
        assert (level.in_use, level.waiting) == (0, 0)
        exempt = await served.ask("GET", f"{FLOW}/flowschemas/exempt")
        uid = exempt.json()["metadata"]["uid"]
        assert exempt.headers["x-kubernetes-pf-flowschema-uid"] == uid
        figures = (await served.ask("GET", "/metrics")).body.decode()
        name = "apiserver_flowcontrol_rejected_requests_total"
        assert f'{name}{{priority_level="global-default",reason="queue-full"}} 46' in figures


async def test_watches_take_a_turn_to_begin_and_hold_no_seat(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        await _prepare(served)
        watches = [
            asyncio.create_task(
                served.ask(
                    "GET",
                    "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1",
                    token="bob-token",
                )
            )
            for _ in range(SEATS * 4)
        ]
        level = served.server.flow.levels["global-default"]
        async with asyncio.timeout(60):
            while level.dispatched < len(watches):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert level.in_use == 0
        assert {answer.status for answer in await asyncio.gather(*watches)} == {200}


async def _prepare(served: Served) -> None:
    """Ann, bob and the scheduler may read; the level of the first two has few seats and places."""
    levels = copy.deepcopy(default_levels())
    for level in levels:
        limited = level["spec"].get("limited")
        if limited is not None:
            limited["lendablePercent"] = 0
            if level["metadata"]["name"] == "global-default":
                # Of 600 seats: the shares of the others are so large.
                limited["nominalConcurrencyShares"] = 1
                limited["limitResponse"]["queuing"] = {
                    "queues": 64, "handSize": 2, "queueLengthLimit": PLACES // 2,
                }  # fmt: skip
            else:
                limited["nominalConcurrencyShares"] = 25
    schemas = [
        (await served.ask("GET", f"{FLOW}/flowschemas/{s['metadata']['name']}")).json()
        for s in default_schemas()
    ]
    served.server.flow.configure(levels, schemas)
    assert served.server.flow.levels["global-default"].config.seats == SEATS
    await served.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "x"}})
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    names = ("ann", "bob", "system:kube-scheduler")
    await served.create(
        path,
        {
            "metadata": {"name": "readers"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "view",
            },
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
                for name in names
            ],
        },
    )
