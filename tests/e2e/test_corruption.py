"""A member whose database is not what the others have: found, and replaced as the page says."""

import re
import subprocess
from pathlib import Path

import pytest

from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.mvcc.backend import Backend
from store.mvcc.revision import PackedRevision
from tests.e2e.store_cluster import ROOT, TOOLS, StoreCluster, wait_until

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "store.md"


def falsify(directory: Path) -> None:
    """Change the last value that was put, as a defect would, with a sum that fits it."""
    backend = Backend(directory / "state", map_bytes=1 << 30)
    *_, (packed, record) = backend.records(PackedRevision(0))
    kv = KeyValue.FromString(record)
    kv.value = b"something else"
    backend.delete(packed)
    assert backend.flush()
    backend.put(packed, kv.SerializeToString())
    assert backend.flush()
    backend.close()


def way_out(**names: str) -> list[str]:
    """The commands of the page's section, with `names` put in for the words in capitals."""
    section = PAGE.read_text().partition("## A damaged or lost member\n")[2].partition("\n## ")[0]
    found = re.findall(r"^    (\S.*)$", section, re.MULTILINE)
    lines = [line.partition("  #")[0] for line in found]
    for word, value in names.items():
        lines = [re.sub(rf"\b{word}\b", value, line) for line in lines]
    return lines


def has_alarm(cluster: StoreCluster) -> bool:
    return "alarm:CORRUPT" in cluster.etcdctl("alarm", "list").stdout


def test_a_member_that_differs_is_found_and_replaced_as_the_page_says(tmp_path: Path) -> None:
    flags = ("--corrupt-check-time=500ms", "--experimental-initial-corrupt-check")
    with StoreCluster(tmp_path, flags=flags) as cluster:
        cluster.start()
        cluster.wait_ready()
        cluster.etcdctl("put", "other", "value")
        cluster.etcdctl("put", "key", "value")
        victim, witness = cluster.followers()
        own_id = f"{cluster.status(victim).header.member_id:x}"
        cluster.terminate(victim)
        falsify(cluster.data_dir(victim))
        cluster.start(victim)
        wait_until(lambda: not cluster.is_running(victim), "refused")
        assert (
            f"{own_id} found data inconsistency with peers" in cluster.log_file(victim).read_text()
        )

        cluster.more_flags[victim] = ("--experimental-initial-corrupt-check=false",)
        cluster.start(victim)
        wait_until(lambda: has_alarm(cluster), "the alarm")
        listed = cluster.etcdctl("alarm", "list").stdout
        assert listed.split() == [f"memberID:{int(own_id, 16)}", "alarm:CORRUPT"]
        refused = cluster.etcdctl("put", "key", "new", at=witness, check=False)
        assert "etcdserver: corrupt cluster" in refused.stderr
        assert cluster.etcdctl("get", "key", "--print-value-only", at=witness).stdout == "value\n"

        cluster.kill(victim)
        for line in way_out(
            ID=own_id,
            NAME=victim,
            PEER_URL=cluster.peer_url(victim),
            DATA_DIR=str(cluster.data_dir(victim)),
        ):
            if line.startswith("kubraft-etcd "):
                assert "--initial-cluster-state existing" in line
                cluster.join(victim)
                cluster.start(victim)
                cluster.wait_ready(victim)
                continue
            subprocess.run(
                line,
                shell=True,
                check=True,
                timeout=60,
                env={"PATH": f"{TOOLS}:/usr/bin:/bin", **cluster.environment(witness)},
            )
        wait_until(
            lambda: cluster.etcdctl("put", "key", "new", at=victim, check=False).returncode == 0,
            "the new member takes writes",
        )
        assert cluster.etcdctl("get", "other", "--print-value-only", at=victim).stdout == "value\n"
        assert not has_alarm(cluster)
