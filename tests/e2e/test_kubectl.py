"""The real kubectl against a whole cluster, over its command set: the rows of kubectl_table."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.kubectl_table import PAGE, ROWS, Row, page

NAMESPACE = "of-kubectl"


class Kubectl:
    """One user's kubectl, in a namespace."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        found = shutil.which("kubectl", path=cluster.environment["PATH"])
        assert found, "kubectl is not installed: `make tools` does that"
        self._executable = found
        self._environment = {
            "PATH": cluster.environment["PATH"],
            "HOME": str(folder),  # its cache of discovery
            "KUBECONFIG": str(cluster.home.kubeconfig),
            "KUBE_EDITOR": "sed -i s/revisionHistoryLimit:.*/revisionHistoryLimit:\\ 7/",
        }

    def run(self, row: Row) -> subprocess.CompletedProcess[str]:
        namespace = [] if "raw" in row.words else ["-n", NAMESPACE]
        return subprocess.run(
            [self._executable, *row.words.split(" "), *namespace],
            env=self._environment,
            input=row.stdin or None,
            stdin=None if row.stdin else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=row.timeout_s + 30,
            check=False,
        )

    def settled(self, row: Row) -> subprocess.CompletedProcess[str]:
        """As `run`; what may take a moment to be so is asked again."""
        until_s = time.monotonic() + row.timeout_s
        done = self.run(row)
        while row.again and time.monotonic() < until_s and not re.search(row.writes, done.stdout):
            time.sleep(1)
            done = self.run(row)
        return done


@pytest.fixture
def kubectl(cluster: Cluster, tmp_path: Path) -> Iterator[Kubectl]:
    made = Kubectl(cluster, tmp_path)
    made.run(Row(f"create namespace {NAMESPACE}", ""))
    yield made
    made.run(Row(f"delete namespace {NAMESPACE} --wait=false", ""))


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("cluster")
def test_every_command_does_what_it_says(kubectl: Kubectl) -> None:
    wrong = []
    for row in ROWS:
        done = kubectl.settled(row)
        written = done.stdout + done.stderr
        if not re.search(row.writes, written, re.MULTILINE) or (done.returncode != 0) != bool(
            row.why
        ):
            wrong.append(f"$ kubectl {row.words}\n{written[:600]}({done.returncode})")
    assert not wrong, "\n".join(wrong)


def test_the_page_says_what_the_table_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "make it anew: python -m tests.e2e.kubectl_table"
