"""`make bench`: the store beside etcd, the API on a whole cluster, the scheduler; all figures."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.e2e.cluster import ROOT, Cluster


def part(title: str, *arguments: str) -> None:
    """Run one benchmark and show what it prints."""
    print(f"== {title}", flush=True)  # noqa: T201
    subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=True)


def main() -> None:
    part("store: 3 members, beside the real etcd in the same run", "tests.bench.bench_store")
    with tempfile.TemporaryDirectory(prefix="kubraft-bench-") as temporary:
        cluster = Cluster(Path(temporary) / "home")
        try:
            cluster.kubraft("up")
            status = cluster.status()
            token = Path(status["token_file"]).read_text().strip()
            part(
                "API: gRPC, on a whole cluster of three members",
                "tests.bench.bench_objects",
                f"--server={status['grpc']}",
                f"--ca-file={status['ca_file']}",
                f"--token={token}",
            )
        finally:
            cluster.end()
    part("scheduler: decisions a second", "tests.bench.scheduler")


if __name__ == "__main__":
    main()
