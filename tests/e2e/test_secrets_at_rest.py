"""What etcdctl sees of a Secret of a cluster that `make up` started."""

from __future__ import annotations

import base64
import json
import stat

import pytest

from kubraft.api.gvk import SECRET
from kubraft.client.client import ApiClient
from tests.e2e.cluster import Cluster

WORD = "correct horse battery staple"


@pytest.mark.e2e
@pytest.mark.xdist_group("cluster")
async def test_secrets_are_not_plain_in_the_store(cluster: Cluster, client: ApiClient) -> None:
    encoded = base64.b64encode(WORD.encode()).decode()
    await client.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "at-rest", "namespace": "default"},
            "data": {"word": encoded},
        }
    )
    try:
        found = json.loads(cluster.etcdctl("get", "/registry/secrets/default/at-rest", "-w=json"))
        stored = base64.b64decode(found["kvs"][0]["value"])

        assert stored.startswith(b"k8s:enc:aesgcm:v1:key1:")
        assert encoded.encode() not in stored
        assert WORD.encode() not in stored
        read = await client.get(SECRET, "at-rest", "default")
        assert read["data"] == {"word": encoded}
        mode = cluster.home.encryption_config.stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    finally:
        await client.delete(SECRET, "at-rest", "default")
