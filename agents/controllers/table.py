"""The controllers of the manager: a further one is a module and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.controllers.bootstrap_signer import BootstrapSigner
from agents.controllers.certificates.controller import (
    CertificateApprover,
    CertificateCleaner,
    CertificateSigner,
)
from agents.controllers.cluster_role_aggregation import ClusterRoleAggregation
from agents.controllers.context import Context, Runnable
from agents.controllers.cron_job.controller import CronJobController
from agents.controllers.daemon_set.controller import DaemonSetController
from agents.controllers.deployment.controller import DeploymentController
from agents.controllers.disruption.controller import DisruptionController
from agents.controllers.endpoints.endpoints_controller import EndpointsController
from agents.controllers.endpoints.mirroring import EndpointSliceMirroringController
from agents.controllers.endpoints.slice_controller import EndpointSliceController
from agents.controllers.garbage.controller import GarbageCollector
from agents.controllers.horizontal_pod_autoscaler.controller import (
    HorizontalPodAutoscalerController,
)
from agents.controllers.job.controller import JobController
from agents.controllers.namespace.controller import NamespaceController
from agents.controllers.node_ipam.controller import NodeIpamController
from agents.controllers.node_lifecycle.controller import NodeLifecycleController
from agents.controllers.node_lifecycle.taint_eviction import TaintEvictionController
from agents.controllers.node_ttl import NodeTtl
from agents.controllers.options import Options
from agents.controllers.pod_gc.controller import PodGarbageCollector
from agents.controllers.replica_set.controller import ReplicaSetController
from agents.controllers.replica_set.replication import ReplicationController
from agents.controllers.resource_quota import ResourceQuotaController
from agents.controllers.root_ca import RootCaPublisher
from agents.controllers.service_account import ServiceAccountController
from agents.controllers.service_account_token import ServiceAccountTokenController
from agents.controllers.stateful_set.controller import StatefulSetController
from agents.controllers.token_cleaner import TokenCleaner
from agents.controllers.ttl_after_finished import TtlAfterFinishedController
from agents.controllers.volumes.binder import VolumeBinder
from agents.controllers.volumes.ephemeral import EphemeralVolumes
from agents.controllers.volumes.local_provisioner import LocalProvisioner
from agents.controllers.volumes.protection import ClaimProtection, VolumeProtection


@dataclass(frozen=True, slots=True)
class Row:
    """A controller: its name, as kube-controller-manager's flag --controllers has it.

    One that has no work by the other flags is not built.
    """

    name: str
    build: Callable[[Context], Runnable]
    has_work: Callable[[Options], bool] = lambda _options: True


def enabled(options: Options) -> list[Row]:
    """The rows that `options.controllers` chooses.

    Raises:
        ValueError: it names a controller that there is not.
    """
    names = {row.name for row in CONTROLLERS} | {"*"}
    if unknown := [part for part in options.controllers if part.removeprefix("-") not in names]:
        raise ValueError(f"--controllers: there is no controller {unknown[0]!r}")
    return [row for row in CONTROLLERS if options.enables(row.name) and row.has_work(options)]


CONTROLLERS = (
    Row("deployment-controller", DeploymentController),
    Row("replicaset-controller", ReplicaSetController),
    Row("replicationcontroller-controller", ReplicationController),
    Row("daemonset-controller", DaemonSetController),
    Row("statefulset-controller", StatefulSetController),
    Row("job-controller", JobController),
    Row("cronjob-controller", CronJobController),
    Row("certificatesigningrequest-approving-controller", CertificateApprover),
    Row("certificatesigningrequest-signing-controller", CertificateSigner),
    Row("certificatesigningrequest-cleaner-controller", CertificateCleaner),
    Row("ttl-after-finished-controller", TtlAfterFinishedController),
    Row("endpoints-controller", EndpointsController),
    Row("endpointslice-controller", EndpointSliceController),
    Row("endpointslice-mirroring-controller", EndpointSliceMirroringController),
    Row("disruption-controller", DisruptionController),
    Row("horizontal-pod-autoscaler-controller", HorizontalPodAutoscalerController),
    Row("node-ipam-controller", NodeIpamController, lambda options: bool(options.node_pools)),
    Row("node-lifecycle-controller", NodeLifecycleController),
    Row("taint-eviction-controller", TaintEvictionController),
    Row("garbage-collector-controller", GarbageCollector),
    Row("pod-garbage-collector-controller", PodGarbageCollector),
    Row("namespace-controller", NamespaceController),
    Row("serviceaccount-controller", ServiceAccountController),
    Row("serviceaccount-token-controller", ServiceAccountTokenController),
    Row("root-ca-certificate-publisher-controller", RootCaPublisher),
    Row("resourcequota-controller", ResourceQuotaController),
    Row("clusterrole-aggregation-controller", ClusterRoleAggregation),
    Row("token-cleaner-controller", TokenCleaner),
    Row("persistentvolume-binder-controller", VolumeBinder),
    Row("persistentvolumeclaim-protection-controller", ClaimProtection),
    Row("persistentvolume-protection-controller", VolumeProtection),
    Row("ephemeral-volume-controller", EphemeralVolumes),
    Row("local-volume-provisioner-controller", LocalProvisioner),
    Row("bootstrap-signer-controller", BootstrapSigner),
    Row("ttl-controller", NodeTtl),
)
