"""One candidate of the official client's leader election; says when it leads."""

from __future__ import annotations

import sys

from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock


def lead() -> None:
    sys.stdout.write("leading\n")
    sys.stdout.flush()


def main() -> None:
    kubeconfig, namespace, name = sys.argv[1:]
    config.load_kube_config(kubeconfig)
    how = electionconfig.Config(
        ConfigMapLock("lock", namespace, name),
        lease_duration=5,
        renew_deadline=4,
        retry_period=1,
        onstarted_leading=lead,
        onstopped_leading=lambda: None,
    )
    leaderelection.LeaderElection(how).run()


if __name__ == "__main__":
    main()
