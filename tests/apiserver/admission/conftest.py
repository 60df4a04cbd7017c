"""A bench whose writes go through the whole chain, with webhooks of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from apiserver.admission import build_chain
from apiserver.admission.webhook.client import WebhookClient
from apiserver.authz import Authorizer
from apiserver.registry.admission_context import make_context
from apiserver.registry.policy import Policy
from tests.apiserver.admission.hooks_server import HookServer, namespace, serving
from tests.apiserver.harness import AllowAll, Bench, simple


@pytest.fixture
async def hooks(bench: Bench, pki: Path) -> AsyncIterator[HookServer]:
    """A bench whose writes go through the whole chain, and a server for its webhooks."""
    context = make_context(bench.registry.machinery, bench.reader, bench.writer, Random(1))
    client = WebhookClient(bench.reader, Random(1))
    chain = build_chain(context, Authorizer(bench.reader), webhooks=client)
    for name in ("default", "kube-system"):
        await bench.writer.create(namespace(name))
    await bench.writer.create(simple("ServiceAccount", "default"))
    bench.registry.policy = Policy(AllowAll(), chain)
    async with serving(pki) as server:
        yield server
    await client.close()
