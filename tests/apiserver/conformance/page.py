"""docs/conformance.md: upstream's conformance tests, and what of them is held here.

`python -m tests.apiserver.conformance.page` writes the page.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple

from tests.apiserver.conformance.held import HELD

PAGE = Path(__file__).parents[3] / "docs/conformance.md"
MODULES = ("definitions", "field_validation", "machinery", "network", "operations", "webhooks",
           "workloads")  # fmt: skip


class Rest(NamedTuple):
    """Conformance tests that are not held here, and what they need."""

    tests: str
    needs: str


_CONTROLLERS = "controllers, and for most of them containers"
_CONTAINERS = "containers of upstream's test images"
OTHERS = (
    Rest("[sig-api-machinery] Aggregator ...", "upstream's sample API server as an image"),
    Rest("[sig-api-machinery] AdmissionWebhook ... deny attaching pod", "a Pod that runs"),
    Rest("[sig-api-machinery] Garbage collector ... (7)", _CONTROLLERS),
    Rest("[sig-api-machinery] Namespaces ... removed when a namespace is deleted (2), "
         "OrderedNamespaceDeletion", "the namespace controller"),
    Rest("[sig-api-machinery] ResourceQuota ... (9)", "the quota controller, which counts what "
         "is deleted; what the API server admits is in tests/apiserver/admission"),
    Rest("[sig-apps] CronJob, Daemon set, Deployment, Job, ReplicaSet, ReplicationController, "
         "StatefulSet, ControllerRevision: all others", _CONTROLLERS),
    Rest("[sig-auth] ServiceAccounts ... mount (2), OIDC discovery, kube-root-ca.crt",
         "containers; the controller manager publishes kube-root-ca.crt; OIDC discovery without "
         "a Pod is in tests/apiserver/test_issuer_discovery.py"),
    Rest("[sig-cli]", "kubectl: see compatibility.md"),
    Rest("[sig-network] DNS, HostPort, Networking, Proxy, Services, EndpointSlice: all others",
         "controllers, a service proxy, cluster DNS, containers"),
    Rest("[sig-node] all others", _CONTAINERS),
    Rest("[sig-scheduling] all others", "the scheduler and nodes"),
    Rest("[sig-storage] all others", _CONTAINERS),
)  # fmt: skip

_HEAD = (
    "# Conformance\n\n"
    "Upstream's conformance tests are Go programs that run in a cluster with container images. "
    "Those that concern\nthe API server alone have a twin in `tests/apiserver/conformance`, which "
    "makes the same calls over HTTPS to\na server in the test's process, with its flags, TLS, "
    "users, RBAC and admission; where upstream's also waits\nfor Pods, the twin leaves that out. "
    "The names are upstream's (1.35), without `[Conformance]`. Upstream's\nsuite itself has not "
    "been run against a cluster.\n\n"
)


def page() -> str:
    """The page, made of what the modules hold."""
    for name in MODULES:
        importlib.import_module(f"tests.apiserver.conformance.test_{name}")
    lines = [_HEAD + f"## Held: {len(HELD)}", "", "| test | held by |", "| --- | --- |"]
    for name, module in sorted(HELD.items()):
        held = module.rpartition(".")[2]
        lines.append(f"| {name.replace('|', '/')} | `{held}` |")
    lines += ["", "## Not held here", "", "| tests | what they need |", "| --- | --- |"]
    lines += [f"| {each.tests} | {each.needs} |" for each in OTHERS]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
