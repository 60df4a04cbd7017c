"""The flags of the controller manager: kube-controller-manager's names where it has them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from agents.controllers.node_ipam.flags import add_flags, pools_of, service_networks_of
from agents.controllers.node_ipam.pools import Pool
from agents.controllers.node_lifecycle.zone import Limits
from agents.controllers.pod_gc.plan import Rules
from kubraft.agent_main import add_leader_election_flags, agent_parser, duration_s
from kubraft.api.networks import Network
from kubraft.health.secure_port import add_secure_port_flags


@dataclass(frozen=True, slots=True)
class Options:
    """What the controllers are told at start; times in seconds.

    `controllers` are patterns as upstream's flag: "*" for all, a name, or "-name" for all but that.
    `pod_force_delete_s` is None where terminating Pods of unreachable nodes wait for their node.
    `node_pools` is empty where nodes are told their ranges of addresses otherwise.
    """

    controllers: tuple[str, ...] = ("*",)
    concurrent_deployment_syncs: int = 5
    concurrent_replicaset_syncs: int = 5
    concurrent_rc_syncs: int = 5
    concurrent_job_syncs: int = 5
    concurrent_cron_job_syncs: int = 5
    concurrent_daemonset_syncs: int = 2
    concurrent_statefulset_syncs: int = 5
    concurrent_ttl_after_finished_syncs: int = 5
    concurrent_endpoint_syncs: int = 5
    concurrent_service_endpoint_syncs: int = 5
    mirroring_concurrent_service_endpoint_syncs: int = 5
    concurrent_gc_syncs: int = 20
    concurrent_namespace_syncs: int = 10
    concurrent_resource_quota_syncs: int = 5
    concurrent_serviceaccount_syncs: int = 1
    resource_quota_sync_s: float = 300.0
    node_monitor_period_s: float = 5.0
    node_monitor_grace_s: float = 50.0
    node_startup_grace_s: float = 60.0
    pod_force_delete_s: float | None = None
    terminated_pod_gc_threshold: int = 12_500
    root_ca_file: str = ""
    service_account_private_key_file: str = ""
    cluster_signing_cert_file: str = ""
    cluster_signing_key_file: str = ""
    local_storage_class: str = ""
    cluster_signing_s: float = 365 * 24 * 3600.0
    node_pools: tuple[Pool, ...] = ()
    service_networks: tuple[Network, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def pod_gc_rules(self) -> Rules:
        """Which Pods are removed without their node agent."""
        return Rules(self.terminated_pod_gc_threshold, self.pod_force_delete_s)

    def enables(self, controller: str) -> bool:
        """Whether the controller of that name runs; its own name counts before "*"."""
        if controller in self.controllers:
            return True
        return f"-{controller}" not in self.controllers and "*" in self.controllers


def parser() -> argparse.ArgumentParser:
    """The flags, with upstream's defaults where upstream has the flag."""
    flags = agent_parser("controllers", "Runs the control loops of the cluster.")
    add_leader_election_flags(flags)
    add_secure_port_flags(flags)
    default, limits = Options(), Limits()
    flags.add_argument("--controllers", default="*", help="which to run: *, NAME, -NAME, by commas")
    _add_counts(flags, default)
    node = flags.add_argument_group("node lifecycle")
    node.add_argument(
        "--node-monitor-period",
        type=duration_s,
        default=default.node_monitor_period_s,
        help="how often silence is looked for",
    )
    node.add_argument(
        "--node-monitor-grace-period",
        type=duration_s,
        default=default.node_monitor_grace_s,
        help="silence after which a node is Unknown",
    )
    node.add_argument(
        "--node-startup-grace-period", type=duration_s, default=default.node_startup_grace_s
    )
    node.add_argument("--node-eviction-rate", type=float, default=limits.node_eviction_rate)
    node.add_argument(
        "--secondary-node-eviction-rate", type=float, default=limits.secondary_node_eviction_rate
    )
    node.add_argument(
        "--large-cluster-size-threshold", type=int, default=limits.large_cluster_size_threshold
    )
    node.add_argument(
        "--unhealthy-zone-threshold", type=float, default=limits.unhealthy_zone_threshold
    )
    node.add_argument(
        "--pod-eviction-timeout",
        type=duration_s,
        default=None,
        help="after which terminating Pods of a node that stays unreachable are removed without "
        "its confirmation; never, where not given",
    )
    flags.add_argument(
        "--terminated-pod-gc-threshold", type=int, default=default.terminated_pod_gc_threshold
    )
    flags.add_argument("--root-ca-file", default="", help="CA for Pods to know the API server by")
    flags.add_argument(
        "--service-account-private-key-file", default="", help="signs tokens that Secrets hold"
    )
    flags.add_argument("--cluster-signing-cert-file", default="", help="CA that signs requests")
    flags.add_argument("--cluster-signing-key-file", default="", help="and its key")
    flags.add_argument(
        "--cluster-signing-duration", type=duration_s, default=default.cluster_signing_s
    )
    add_flags(flags)
    flags.add_argument(
        "--local-storage-class",
        default="",
        help="StorageClass of directories of the nodes, made as the default where it is missing",
    )
    return flags


def _add_counts(flags: argparse.ArgumentParser, default: Options) -> None:
    counts = flags.add_argument_group("how many objects of a kind are worked on at once")
    for name, number in (
        ("deployment", default.concurrent_deployment_syncs),
        ("replicaset", default.concurrent_replicaset_syncs),
        ("rc", default.concurrent_rc_syncs),
        ("job", default.concurrent_job_syncs),
        ("cron-job", default.concurrent_cron_job_syncs),
        ("daemonset", default.concurrent_daemonset_syncs),
        ("statefulset", default.concurrent_statefulset_syncs),
        ("ttl-after-finished", default.concurrent_ttl_after_finished_syncs),
        ("endpoint", default.concurrent_endpoint_syncs),
        ("service-endpoint", default.concurrent_service_endpoint_syncs),
        ("gc", default.concurrent_gc_syncs),
        ("namespace", default.concurrent_namespace_syncs),
        ("resource-quota", default.concurrent_resource_quota_syncs),
        ("serviceaccount", default.concurrent_serviceaccount_syncs),
    ):
        counts.add_argument(f"--concurrent-{name}-syncs", type=int, default=number)
    counts.add_argument(
        "--mirroring-concurrent-service-endpoint-syncs",
        type=int,
        default=default.mirroring_concurrent_service_endpoint_syncs,
    )
    counts.add_argument(
        "--resource-quota-sync-period", type=duration_s, default=default.resource_quota_sync_s
    )


def options_of(given: argparse.Namespace) -> Options:
    """The options that these flags say.

    Raises:
        ValueError: a flag's value makes no sense; the message names the flag.
    """
    for name, value in vars(given).items():
        if name.startswith(("concurrent_", "mirroring_concurrent_")) and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
    if given.node_monitor_grace_period <= given.node_monitor_period:
        raise ValueError("--node-monitor-grace-period must be longer than --node-monitor-period")
    return Options(
        controllers=tuple(part.strip() for part in given.controllers.split(",") if part.strip()),
        concurrent_deployment_syncs=given.concurrent_deployment_syncs,
        concurrent_replicaset_syncs=given.concurrent_replicaset_syncs,
        concurrent_rc_syncs=given.concurrent_rc_syncs,
        concurrent_job_syncs=given.concurrent_job_syncs,
        concurrent_cron_job_syncs=given.concurrent_cron_job_syncs,
        concurrent_daemonset_syncs=given.concurrent_daemonset_syncs,
        concurrent_statefulset_syncs=given.concurrent_statefulset_syncs,
        concurrent_ttl_after_finished_syncs=given.concurrent_ttl_after_finished_syncs,
        concurrent_endpoint_syncs=given.concurrent_endpoint_syncs,
        concurrent_service_endpoint_syncs=given.concurrent_service_endpoint_syncs,
        mirroring_concurrent_service_endpoint_syncs=given.mirroring_concurrent_service_endpoint_syncs,
        concurrent_gc_syncs=given.concurrent_gc_syncs,
        concurrent_namespace_syncs=given.concurrent_namespace_syncs,
        concurrent_resource_quota_syncs=given.concurrent_resource_quota_syncs,
        concurrent_serviceaccount_syncs=given.concurrent_serviceaccount_syncs,
        resource_quota_sync_s=given.resource_quota_sync_period,
        node_monitor_period_s=given.node_monitor_period,
        node_monitor_grace_s=given.node_monitor_grace_period,
        node_startup_grace_s=given.node_startup_grace_period,
        pod_force_delete_s=given.pod_eviction_timeout,
        terminated_pod_gc_threshold=given.terminated_pod_gc_threshold,
        root_ca_file=given.root_ca_file,
        service_account_private_key_file=given.service_account_private_key_file,
        cluster_signing_cert_file=given.cluster_signing_cert_file,
        cluster_signing_key_file=given.cluster_signing_key_file,
        local_storage_class=given.local_storage_class,
        cluster_signing_s=given.cluster_signing_duration,
        node_pools=pools_of(given),
        service_networks=service_networks_of(given),
        limits=Limits(
            given.node_eviction_rate,
            given.secondary_node_eviction_rate,
            given.large_cluster_size_threshold,
            given.unhealthy_zone_threshold,
        ),
    )
