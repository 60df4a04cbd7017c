"""What becomes of an API server when a task that it depends on does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from apiserver.options import parse
from apiserver.server import ApiServer
from apiserver.storage.watch_cache import WatchCache


async def test_a_server_whose_feed_ended_does_not_go_on(
    pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(cache: WatchCache) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(WatchCache, "run", end)
    flags = {
        "--etcd-servers": "http://127.0.0.1:1",
        "--secure-port": "0",
        "--tls-cert-file": str(pki / "apiserver.crt"),
        "--tls-private-key-file": str(pki / "apiserver.key"),
        "--client-ca-file": str(pki / "ca.crt"),
    }
    server = ApiServer(parse([part for flag in flags.items() for part in flag]))
    with pytest.raises(RuntimeError, match="watch-cache ended: 'a defect'"):
        await server.run()
