"""What the stories are given: a server, and a namespace each.

Stories run in a process of their own (test_clients.py), for clients leave sockets, threads and
warnings behind; they find the server in an environment variable.
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.request
import uuid
from pathlib import Path

import pytest
import yaml

KUBECONFIG = "KUBRAFT_STORY_KUBECONFIG"


@pytest.fixture
def kubeconfig() -> str:
    return os.environ[KUBECONFIG]


@pytest.fixture
def namespace(kubeconfig: str) -> str:
    """The name of a new namespace; nothing deletes it, as no controllers run."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    tls.load_cert_chain(user["client-certificate"], user["client-key"])
    name = f"story-{uuid.uuid4().hex[:8]}"
    request = urllib.request.Request(
        f"{cluster['server']}/api/v1/namespaces",
        data=json.dumps({"metadata": {"name": name}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, context=tls, timeout=30):
        return name
