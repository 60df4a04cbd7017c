"""How many Pods a second the scheduler decides for: `python -m tests.bench.scheduler`.

Only decisions (no API server), by CPU time: 5,000 Pods of 20 owners on 1,000 nodes in three zones,
and how the rate holds as the cluster fills.
"""

import sys
import time
from random import Random
from typing import Any

from agents.scheduler.algorithm import schedule
from tests.agents.scheduler.world import PROFILE, cluster, info, node

ZONE = "topology.kubernetes.io/zone"
NODES, PODS, STEP = 1000, 5000, 1000
SPREAD = {
    "maxSkew": 1,
    "topologyKey": ZONE,
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"app": "a1"}},
}


APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "a1"}},
            }
        ]
    }
}


def rates(**spec: Any) -> list[int]:
    """Decisions a second for each `STEP` Pods."""
    nodes = [
        node(f"n{i}", cpu="32", memory="64Gi", labels={ZONE: f"z{i % 3}"}) for i in range(NODES)
    ]
    where, rng, start = cluster(*nodes), Random(1), 0
    found: list[int] = []
    began_s = time.process_time()
    for index in range(1, PODS + 1):
        owner = index % 20
        labels = {"app": f"a{owner}"}
        wanted = info(
            f"p{index}", cpu="100m", memory="100Mi", labels=labels, owner=f"rs{owner}", **spec
        )
        decision = schedule(PROFILE, where.snapshot(), wanted, rng=rng, start=start)
        start += decision.evaluated_count
        where.assume(wanted, decision.node_name)
        if index % STEP == 0:
            now_s = time.process_time()
            found.append(round(STEP / (now_s - began_s)))
            began_s = now_s
    return found


def main() -> None:
    sys.stdout.write(f"plain: {rates()} decisions/s, by {STEP} Pods\n")
    spread = rates(topologySpreadConstraints=[SPREAD])
    apart = rates(affinity=APART)
    sys.stdout.write(f"apart from one app's: {apart} decisions/s, by {STEP} Pods\n")
    sys.stdout.write(f"zone spread: {spread} decisions/s, by {STEP} Pods\n")


if __name__ == "__main__":
    main()
