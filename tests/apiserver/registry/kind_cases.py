"""A case a kind: a minimal object, what it is filled in with, and how it prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kubraft.api.gvk import GroupVersionKind, gvk_of
from kubraft.api.object import Object

POD_SPEC: Object = {"containers": [{"name": "c", "image": "busybox:1"}]}
LABELS = {"app": "x"}
TEMPLATE: Object = {"metadata": {"labels": LABELS}, "spec": POD_SPEC}
SELECTOR: Object = {"matchLabels": LABELS}
ONCE: Object = {"spec": {**POD_SPEC, "restartPolicy": "Never"}}


@dataclass(frozen=True)
class Case:
    """One kind, used once."""

    obj: Object
    plural: str
    # By path.
    defaults: dict[str, Any] = field(default_factory=dict)
    # All cells of its row but the age ("0s"), in order.
    row: tuple[Any, ...] = ()
    columns: str = ""
    short: tuple[str, ...] = ()
    # A status that is written, and shows in these cells.
    status: Object | None = None
    namespaced: bool = True

    @property
    def gvk(self) -> GroupVersionKind:
        return gvk_of(self.obj)


def thing(api_version: str, kind: str, name: str = "x", **fields: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


CORE = (
    Case(
        thing("v1", "ReplicationController", spec={"template": TEMPLATE}),
        "replicationcontrollers",
        {"spec.replicas": 1, "spec.selector": LABELS, "metadata.labels": LABELS,
         "status.replicas": 0, "metadata.generation": 1},
        ("x", 1, 0, 0, "0s", "c", "busybox:1", "app=x"),
        "Name Desired Current Ready Age Containers Images Selector",
        ("rc",),
        {"replicas": 2},
    ),
    Case(
        thing("v1", "PodTemplate", template=TEMPLATE),
        "podtemplates",
        {"template.spec.restartPolicy": "Always"},
        ("x", "c", "busybox:1", "app=x"),
        "Name Containers Images Pod Labels",
    ),
    Case(
        thing("v1", "Endpoints", subsets=[
            {"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
             "ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]}]),
        "endpoints",
        {"subsets.0.ports.0.protocol": "TCP"},
        ("x", "10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...", "0s"),
        "Name Endpoints Age",
        ("ep",),
    ),
    Case(
        thing("v1", "PersistentVolume", spec={
            "capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"}}),
        "persistentvolumes",
        {"spec.persistentVolumeReclaimPolicy": "Retain", "spec.volumeMode": "Filesystem",
         "spec.hostPath.type": "", "spec.capacity.storage": "1Gi", "status.phase": "Pending"},
        ("x", "1Gi", "RWO", "Retain", "Pending", "", "", "<unset>", "", "0s", "Filesystem"),
        "Name Capacity Access Modes Reclaim Policy Status Claim StorageClass "
        "VolumeAttributesClass Reason Age VolumeMode",
        ("pv",),
        {"phase": "Available"},
        namespaced=False,
    ),
    Case(
        thing("v1", "PersistentVolumeClaim", spec={
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
            "resources": {"requests": {"storage": "1Gi"}}}),
        "persistentvolumeclaims",
        {"spec.volumeMode": "Filesystem", "status.phase": "Pending"},
        ("x", "Pending", "", "", "", "", "<unset>", "0s", "Filesystem"),
        "Name Status Volume Capacity Access Modes StorageClass VolumeAttributesClass Age "
        "VolumeMode",
        ("pvc",),
        {"phase": "Bound"},
    ),
)  # fmt: skip

APPS = (
    Case(
        thing("apps/v1", "StatefulSet", spec={
            "selector": SELECTOR, "serviceName": "x", "template": TEMPLATE,
            "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}),
        "statefulsets",
        {"spec.replicas": 1, "spec.podManagementPolicy": "OrderedReady",
         "spec.updateStrategy": {
             "type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}},
         "spec.revisionHistoryLimit": 10,
         "spec.persistentVolumeClaimRetentionPolicy": {
             "whenDeleted": "Retain", "whenScaled": "Retain"},
         "spec.volumeClaimTemplates.0.spec.volumeMode": "Filesystem",
         "spec.volumeClaimTemplates.0.status.phase": "Pending"},
        ("x", "0/1", "0s", "c", "busybox:1"),
        "Name Ready Age Containers Images",
        ("sts",),
        {"replicas": 1, "readyReplicas": 1},
    ),
    Case(
        thing("apps/v1", "DaemonSet", spec={"selector": SELECTOR, "template": TEMPLATE}),
        "daemonsets",
        {"spec.updateStrategy": {
            "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
         "spec.revisionHistoryLimit": 10, "status.numberReady": 0, "spec.replicas": None,
         "metadata.annotations": {"deprecated.daemonset.template.generation": "1"}},
        ("x", 0, 0, 0, 0, 0, "<none>", "0s", "c", "busybox:1", "app=x"),
        "Name Desired Current Ready Up-to-date Available Node Selector Age Containers Images "
        "Selector",
        ("ds",),
        {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberMisscheduled": 0,
         "numberReady": 1},
    ),
    Case(
        thing("apps/v1", "ControllerRevision", revision=2, data={"spec": {}}),
        "controllerrevisions",
        {},
        ("x", "<none>", 2, "0s"),
        "Name Controller Revision Age",
    ),
)  # fmt: skip

BATCH = (
    Case(
        thing("batch/v1", "Job", spec={"template": ONCE}),
        "jobs",
        {"spec.completions": 1, "spec.parallelism": 1, "spec.backoffLimit": 6,
         "spec.completionMode": "NonIndexed", "spec.suspend": False,
         "spec.manualSelector": False, "spec.podReplacementPolicy": "TerminatingOrFailed",
         "spec.template.metadata.labels.job-name": "x", "metadata.generation": 1},
        ("x", "Running", "0/1", "", "0s", "c", "busybox:1", ...),
        "Name Status Completions Duration Age Containers Images Selector",
        (),
        {"active": 1, "startTime": "2026-01-02T03:04:05Z"},
    ),
    Case(
        thing("batch/v1", "CronJob", spec={
            "schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": ONCE}}}),
        "cronjobs",
        {"spec.concurrencyPolicy": "Allow", "spec.suspend": False,
         "spec.successfulJobsHistoryLimit": 3, "spec.failedJobsHistoryLimit": 1,
         "spec.jobTemplate.spec.template.spec.dnsPolicy": "ClusterFirst"},
        ("x", "*/5 * * * *", "<none>", "False", 0, "<none>", "0s", "c", "busybox:1", "<none>"),
        "Name Schedule Timezone Suspend Active Last Schedule Age Containers Images Selector",
        ("cj",),
        {"lastScheduleTime": "2026-01-02T03:04:05Z"},
    ),
)  # fmt: skip

POLICY = (
    Case(
        thing("policy/v1", "PodDisruptionBudget", spec={
            "minAvailable": "50%", "selector": SELECTOR}),
        "poddisruptionbudgets",
        {"status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0,
                    "expectedPods": 0}, "metadata.generation": 1},
        ("x", "50%", "N/A", 0, "0s"),
        "Name Min Available Max Unavailable Allowed Disruptions Age",
        ("pdb",),
        {"currentHealthy": 2, "desiredHealthy": 1, "disruptionsAllowed": 1, "expectedPods": 2},
    ),
    Case(
        thing("scheduling.k8s.io/v1", "PriorityClass", value=100),
        "priorityclasses",
        {"preemptionPolicy": "PreemptLowerPriority"},
        ("x", 100, "false", "0s", "PreemptLowerPriority"),
        "Name Value Global-Default Age PreemptionPolicy",
        ("pc",),
        namespaced=False,
    ),
)  # fmt: skip

CASES = (*CORE, *APPS, *BATCH, *POLICY)
