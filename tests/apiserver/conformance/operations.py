"""The kinds whose conformance test is every operation, one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubraft.api.gvk import GroupVersionKind, gvk_of
from kubraft.api.object import Object
from tests.apiserver.registry.kind_cases import CASES, LABELS, POD_SPEC, SELECTOR, TEMPLATE, thing
from tests.apiserver.registry.more_kind_cases import MORE_CASES

WHEN = "2026-01-02T03:04:05Z"
CONDITION = {"type": "Seen", "status": "True", "reason": "R", "message": "M"}
CONDITION = {**CONDITION, "lastTransitionTime": WHEN}
CONDITIONS = {"conditions": [CONDITION]}
ADMISSION = "admissionregistration.k8s.io/v1"
VALIDATIONS = [{"expression": "object.metadata.name != 'x'"}]
RULE = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
MATCH = {"resourceRules": [{**RULE, "operations": ["CREATE"]}]}
COUNTS = {"expectedPods": 0, "currentHealthy": 1, "desiredHealthy": 0, "disruptionsAllowed": 0}


@dataclass(frozen=True)
class Operations:
    """A kind as its conformance tests use it; `status` is a merge patch where it has one."""

    obj: Object
    plural: str
    names: tuple[str, ...]
    namespaced: bool = True
    status: Object | None = None

    @property
    def gvk(self) -> GroupVersionKind:
        return gvk_of(self.obj)

    @property
    def root(self) -> str:
        gvk = self.gvk
        return f"/apis/{gvk.group}/{gvk.version}" if gvk.group else f"/api/{gvk.version}"


def _core(kind: str, plural: str, *names: str, **fields: Any) -> Operations:
    return Operations(thing("v1", kind, **fields), plural, names)


OTHERS = (
    _core(
        "ConfigMap",
        "configmaps",
        "[sig-node] ConfigMap should run through a ConfigMap lifecycle",
        "[sig-node] ConfigMap should update ConfigMap successfully [NodeConformance]",
        data={"a": "b"},
    ),
    _core(
        "Secret", "secrets", "[sig-node] Secrets should patch a secret", stringData={"a": "b"}
    ),
    _core(
        "ServiceAccount",
        "serviceaccounts",
        "[sig-auth] ServiceAccounts should run through the lifecycle of a ServiceAccount",
        "[sig-auth] ServiceAccounts should update a ServiceAccount",
    ),
    _core(
        "LimitRange",
        "limitranges",
        "[sig-scheduling] LimitRange should list, patch and delete a LimitRange by collection",
        spec={"limits": [{"type": "Container", "max": {"cpu": "500m"}}]},
    ),
    _core(
        "ResourceQuota",
        "resourcequotas",
        "[sig-api-machinery] ResourceQuota should be able to update and delete ResourceQuota.",
        "[sig-api-machinery] ResourceQuota should manage the lifecycle of a ResourceQuota",
        spec={"hard": {"cpu": "1", "memory": "500Mi"}},
    ),
    _core(
        "Service",
        "services",
        "[sig-network] Services should delete a collection of services",
        spec={"ports": [{"port": 80}], "selector": LABELS},
    ),
    _core(
        "Event",
        "events",
        "[sig-instrumentation] Events should delete a collection of events",
        "[sig-instrumentation] Events should manage the lifecycle of an event",
        involvedObject={"kind": "Pod", "name": "p"},
        reason="Why",
        type="Normal",
    ),
    Operations(
        thing("coordination.k8s.io/v1", "Lease", spec={"leaseDurationSeconds": 30}),
        "leases",
        ("[sig-node] Lease lease API should be available",),
    ),
    Operations(
        thing("v1", "Node", spec={"unschedulable": True}),
        "nodes",
        ("[sig-node] Node Lifecycle should run through the lifecycle of a node",),
        namespaced=False,
        status=CONDITIONS,
    ),
    Operations(
        thing(ADMISSION, "ValidatingAdmissionPolicy", spec={
            "matchConstraints": MATCH, "validations": VALIDATIONS}),
        "validatingadmissionpolicies",
        (("[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support "
         "ValidatingAdmissionPolicy API operations"),),
        namespaced=False,
        status={"observedGeneration": 1, **CONDITIONS},
    ),
    Operations(
        thing(ADMISSION, "ValidatingAdmissionPolicyBinding", spec={
            "policyName": "none", "validationActions": ["Deny"]}),
        "validatingadmissionpolicybindings",
        (("[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support "
         "ValidatingAdmissionPolicyBinding API operations"),),
        namespaced=False,
    ),
    Operations(
        thing("apps/v1", "ReplicaSet", spec={"selector": SELECTOR, "template": TEMPLATE}),
        "replicasets",
        ("[sig-apps] ReplicaSet should list and delete a collection of ReplicaSets",
         "[sig-apps] ReplicaSet should validate Replicaset Status endpoints"),
        status={"replicas": 1, **CONDITIONS},
    ),
    Operations(
        thing("apps/v1", "Deployment", spec={"selector": SELECTOR, "template": TEMPLATE}),
        "deployments",
        ("[sig-apps] Deployment should validate Deployment Status endpoints",),
        status={"replicas": 1, **CONDITIONS},
    ),
)  # fmt: skip

# Kinds of the registry's own cases: their conformance tests, and a patch of status.
_NAMES: dict[str, tuple[tuple[str, ...], Object | None]] = {
    "FlowSchema": (
        ("[sig-api-machinery] API priority and fairness should support FlowSchema API operations",),
        CONDITIONS,
    ),
    "PriorityLevelConfiguration": (
        (("[sig-api-machinery] API priority and fairness should support "
         "PriorityLevelConfiguration API operations"),),
        CONDITIONS,
    ),
    "CronJob": (
        ("[sig-apps] CronJob should support CronJob API operations",),
        {"lastScheduleTime": WHEN},
    ),
    "Job": (
        ("[sig-apps] Job should manage the lifecycle of a job",),
        {"startTime": WHEN},
    ),
    "StatefulSet": (
        (("[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] "
         "should validate Statefulset Status endpoints"),),
        {"replicas": 1, **CONDITIONS},
    ),
    "DaemonSet": (
        ("[sig-apps] Daemon set [Serial] should verify changes to a daemon set status",),
        CONDITIONS,
    ),
    "PodDisruptionBudget": (
        ("[sig-apps] DisruptionController should create a PodDisruptionBudget",
         "[sig-apps] DisruptionController should update/patch PodDisruptionBudget status",
         ("[sig-apps] DisruptionController Listing PodDisruptionBudgets for all namespaces should "
         "list and delete a collection of PodDisruptionBudgets")),
        {"disruptionsAllowed": 3},
    ),
    "CertificateSigningRequest": (
        (("[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API "
         "operations"),),
        CONDITIONS,
    ),
    "Event": (
        ("[sig-instrumentation] Events API should delete a collection of events",
         ("[sig-instrumentation] Events API should ensure that an event can be fetched, patched, "
         "deleted, and listed")),
        None,
    ),
    "EndpointSlice": (
        ("[sig-network] EndpointSlice should support creating EndpointSlice API operations",),
        None,
    ),
    "Endpoints": (("[sig-network] Endpoints should test the lifecycle of an Endpoint",), None),
    "Ingress": (
        ("[sig-network] Ingress API should support creating Ingress API operations",),
        {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}},
    ),
    "IngressClass": (
        ("[sig-network] IngressClass API should support creating IngressClass API operations",),
        None,
    ),
    "IPAddress": (
        ("[sig-network] ServiceCIDR and IPAddress API should support IPAddress API operations",),
        None,
    ),
    "ServiceCIDR": (
        ("[sig-network] ServiceCIDR and IPAddress API should support ServiceCIDR API operations",),
        CONDITIONS,
    ),
    "RuntimeClass": (
        ("[sig-node] RuntimeClass should support RuntimeClasses API operations",), None
    ),
    "PodTemplate": (
        ("[sig-node] PodTemplates should delete a collection of pod templates",
         "[sig-node] PodTemplates should replace a pod template",
         "[sig-node] PodTemplates should run the lifecycle of PodTemplates"),
        None,
    ),
    "CSIDriver": (
        ("[sig-storage] CSIInlineVolumes should run through the lifecycle of a CSIDriver",), None
    ),
    "CSINode": (
        ("[sig-storage] CSINodes CSI Conformance should run through the lifecycle of a csinode",),
        None,
    ),
    "CSIStorageCapacity": (
        ("[sig-storage] CSIStorageCapacity should support CSIStorageCapacities API operations",),
        None,
    ),
    "StorageClass": (
        (("[sig-storage] StorageClasses CSI Conformance should run through the lifecycle of a "
         "StorageClass"),),
        None,
    ),
    "VolumeAttachment": (
        (("[sig-storage] VolumeAttachment Conformance should apply changes to a volumeattachment "
         "status"),
         ("[sig-storage] VolumeAttachment Conformance should run through the lifecycle of a "
         "VolumeAttachment")),
        {"attached": True},
    ),
    "VolumeAttributesClass": (
        (("[sig-storage] VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run "
         "through the lifecycle of a VolumeAttributesClass"),),
        None,
    ),
    "PersistentVolume": (
        (("[sig-storage] PersistentVolumes CSI Conformance should run through the lifecycle of a "
         "PV and a PVC"),),
        {"message": "M", "reason": "R"},
    ),
    "PersistentVolumeClaim": (
        (("[sig-storage] PersistentVolumes CSI Conformance should apply changes to a pv/pvc "
         "status"),),
        CONDITIONS,
    ),
    "DeviceClass": (("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 DeviceClass",), None),
    "ResourceClaim": (
        ("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim",),
        {"allocation": {}},
    ),
    "ResourceClaimTemplate": (
        ("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate",), None
    ),
    "ResourceSlice": (("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice",), None),
}  # fmt: skip

ROWS = (
    *OTHERS,
    *(
        Operations(case.obj, case.plural, names, namespaced=case.namespaced, status=status)
        for case in (*CASES, *MORE_CASES)
        for names, status in [_NAMES.get(case.gvk.kind, ((), None))]
        if names
    ),
)
POD = thing("v1", "Pod", spec=POD_SPEC)
