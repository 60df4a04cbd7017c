"""Cases of the networking, storage, node, flow control and device kinds."""

from __future__ import annotations

import base64

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.apiserver.registry.kind_cases import SELECTOR, Case, thing

NETWORKING = "networking.k8s.io/v1"


def signing_request(name: str, *groups: str) -> str:
    """A PKCS#10 request of a new key, as the API has it."""
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    return base64.b64encode(made.sign(key, SHA256()).public_bytes(Encoding.PEM)).decode()


STORAGE = "storage.k8s.io/v1"
FLOW = "flowcontrol.apiserver.k8s.io/v1"
DEVICES = "resource.k8s.io/v1"
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
PATHS = {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}
CLAIM = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}}
SUBJECT = {"kind": "Group", "group": {"name": "g"}}
URLS = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/x/*"]}
PODS = {"verbs": ["*"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}

NETWORKING_CASES = (
    Case(
        thing(NETWORKING, "Ingress", spec={
            "ingressClassName": "nginx",
            "rules": [{"host": f"{name}.example.com", "http": PATHS} for name in "abcd"]}),
        "ingresses",
        {"status": {"loadBalancer": {}}, "metadata.generation": 1},
        ("x", "nginx", "a.example.com,b.example.com,c.example.com + 1 more...", "", "80", "0s"),
        "Name Class Hosts Address Ports Age",
        ("ing",),
        {"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}},
    ),
    Case(
        thing(NETWORKING, "IngressClass", spec={
            "controller": "acme.io/foo",
            "parameters": {"apiGroup": "acme.io", "kind": "Settings", "name": "s"}}),
        "ingressclasses",
        {"spec.parameters.scope": "Cluster"},
        ("x", "acme.io/foo", "Settings.acme.io/s", "0s"),
        "Name Controller Parameters Age",
        namespaced=False,
    ),
    Case(
        thing(NETWORKING, "NetworkPolicy", spec={
            "podSelector": SELECTOR, "egress": [{"ports": [{"port": 53}]}]}),
        "networkpolicies",
        {"spec.policyTypes": ["Ingress", "Egress"], "spec.egress.0.ports.0.protocol": "TCP"},
        ("x", "app=x", "0s"),
        "Name Pod-Selector Age",
        ("netpol",),
    ),
    Case(
        thing(NETWORKING, "IPAddress", "10.96.0.5", spec={
            "parentRef": {"resource": "services", "namespace": "default", "name": "web"}}),
        "ipaddresses",
        {},
        ("10.96.0.5", "services/default/web", "0s"),
        "Name ParentRef Age",
        ("ip",),
        namespaced=False,
    ),
    Case(
        thing(NETWORKING, "ServiceCIDR", spec={"cidrs": ["10.0.0.0/24", "fd00::/64"]}),
        "servicecidrs",
        {},
        ("x", "10.0.0.0/24,fd00::/64", "0s"),
        "Name CIDRs Age",
        (),
        {"conditions": [{"type": "Ready", "status": "True", "reason": "", "message": "",
                         "lastTransitionTime": "2026-01-02T03:04:05Z"}]},
        namespaced=False,
    ),
    Case(
        thing("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4",
              ports=[{"port": 80}], endpoints=[{"addresses": ["10.0.0.1"]}]),
        "endpointslices",
        {"ports.0.name": "", "ports.0.protocol": "TCP", "metadata.generation": 1},
        ("x", "IPv4", "80", "10.0.0.1", "0s"),
        "Name AddressType Ports Endpoints Age",
    ),
)  # fmt: skip

STORAGE_CASES = (
    Case(
        thing(STORAGE, "StorageClass", provisioner="acme.io/disk"),
        "storageclasses",
        {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
        ("x", "acme.io/disk", "Delete", "Immediate", "false", "0s"),
        "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
        ("sc",),
        namespaced=False,
    ),
    Case(
        thing(STORAGE, "VolumeAttachment", spec={
            "attacher": "acme.io", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}),
        "volumeattachments",
        {"status.attached": False},
        ("x", "acme.io", "pv", "n", "false", "0s"),
        "Name Attacher PV Node Attached Age",
        (),
        {"attached": True},
        namespaced=False,
    ),
    Case(
        thing(STORAGE, "CSIDriver", "acme.io", spec={}),
        "csidrivers",
        {"spec": {"attachRequired": True, "podInfoOnMount": False, "storageCapacity": False,
                  "fsGroupPolicy": "ReadWriteOnceWithFSType", "requiresRepublish": False,
                  "seLinuxMount": False, "volumeLifecycleModes": ["Persistent"]}},
        ("acme.io", "true", "false", "false", "<unset>", "false", "Persistent", "0s"),
        "Name AttachRequired PodInfoOnMount StorageCapacity TokenRequests RequiresRepublish "
        "Modes Age",
        namespaced=False,
    ),
    Case(
        thing(STORAGE, "CSINode", spec={"drivers": [{"name": "acme.io", "nodeID": "1"}]}),
        "csinodes",
        {},
        ("x", 1, "0s"),
        "Name Drivers Age",
        namespaced=False,
    ),
    Case(
        thing(STORAGE, "CSIStorageCapacity", storageClassName="fast", capacity="1Gi"),
        "csistoragecapacities",
        {},
        ("x", "fast", "1Gi", "0s"),
        "Name StorageClassName Capacity Age",
    ),
    Case(
        thing(STORAGE, "VolumeAttributesClass", driverName="acme.io", parameters={"iops": "9"}),
        "volumeattributesclasses",
        {},
        ("x", "acme.io", "0s"),
        "Name DriverName Age",
        ("vac",),
        namespaced=False,
    ),
)  # fmt: skip

OTHER_CASES = (
    Case(
        thing("node.k8s.io/v1", "RuntimeClass", handler="runc",
              overhead={"podFixed": {"cpu": "0.1"}}),
        "runtimeclasses",
        {"overhead.podFixed.cpu": "100m"},
        ("x", "runc", "0s"),
        "Name Handler Age",
        namespaced=False,
    ),
    Case(
        thing("storagemigration.k8s.io/v1", "StorageVersionMigration", spec={
            "resource": {"group": "apps", "resource": "deployments"}}),
        "storageversionmigrations",
        {},
        ("x", "deployments.apps", "0s"),
        "Name Resource Age",
        (),
        {"resourceVersion": "5"},
        namespaced=False,
    ),
    Case(
        thing(FLOW, "FlowSchema", spec={
            "priorityLevelConfiguration": {"name": "low"},
            "rules": [{"subjects": [SUBJECT], "resourceRules": [PODS],
                       "nonResourceRules": [URLS]}]}),
        "flowschemas",
        {"spec.matchingPrecedence": 1000},
        ("x", "low", 1000, "<none>", "0s", "?"),
        "Name PriorityLevel MatchingPrecedence DistinguisherMethod Age MissingPL",
        (),
        {"conditions": [{"type": "Dangling", "status": "False"}]},
        namespaced=False,
    ),
    Case(
        thing(FLOW, "PriorityLevelConfiguration", spec={
            "type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}}),
        "prioritylevelconfigurations",
        {"spec.limited": {
            "nominalConcurrencyShares": 30, "lendablePercent": 0,
            "limitResponse": {"type": "Queue", "queuing": {
                "queues": 64, "handSize": 8, "queueLengthLimit": 50}}}},
        ("x", "Limited", 30, 64, 8, 50, "0s"),
        "Name Type NominalConcurrencyShares Queues HandSize QueueLengthLimit Age",
        (),
        {"conditions": [{"type": "A", "status": "True"}]},
        namespaced=False,
    ),
    Case(
        thing(DEVICES, "ResourceClaim", spec=CLAIM),
        "resourceclaims",
        {"spec.devices.requests.0.exactly": {
            "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}},
        ("x", "pending", "0s"),
        "Name State Age",
        (),
        {"allocation": {}},
    ),
    Case(
        thing(DEVICES, "ResourceClaimTemplate", spec={"spec": CLAIM}),
        "resourceclaimtemplates",
        {"spec.spec.devices.requests.0.exactly.count": 1},
        ("x", "0s"),
        "Name Age",
    ),
    Case(
        thing(DEVICES, "DeviceClass", spec={}),
        "deviceclasses",
        {},
        ("x", "0s"),
        "Name Age",
        namespaced=False,
    ),
    Case(
        thing(DEVICES, "ResourceSlice", spec={
            "driver": "acme.io", "nodeName": "n",
            "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "gpu-0"}]}),
        "resourceslices",
        {"metadata.generation": 1},
        ("x", "n", "acme.io", "n", "0s"),
        "Name Node Driver Pool Age",
        namespaced=False,
    ),
    Case(
        thing(DEVICES, "DeviceTaintRule", spec={
            "taint": {"key": "broken", "effect": "NoSchedule"}}),
        "devicetaintrules",
        {},
        ("x", "0s"),
        "Name Age",
        (),
        {"conditions": [{"type": "A", "status": "True", "reason": "R", "message": "",
                         "lastTransitionTime": "2026-01-02T03:04:05Z"}]},
        namespaced=False,
    ),
)  # fmt: skip

REGARDING = {"kind": "Pod", "name": "p", "namespace": "default"}

VERSIONED_CASES = (
    Case(
        thing("autoscaling/v2", "HorizontalPodAutoscaler", spec={
            "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3}),
        "horizontalpodautoscalers",
        {"spec.minReplicas": 1, "spec.metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]},
        ("x", "Deployment/web", "cpu: <unknown>/80%", "1", 3, 0, "0s"),
        "Name Reference Targets MinPods MaxPods Replicas Age",
        ("hpa",),
        {"currentReplicas": 2, "desiredReplicas": 2},
    ),
    Case(
        thing("autoscaling/v1", "HorizontalPodAutoscaler", spec={
            "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3}),
        "horizontalpodautoscalers",
        {"spec.minReplicas": 1, "spec.targetCPUUtilizationPercentage": 80},
        ("x", "Deployment/web", "cpu: <unknown>/80%", "1", 3, 0, "0s"),
        "Name Reference Targets MinPods MaxPods Replicas Age",
        ("hpa",),
        {"currentReplicas": 2, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 40},
    ),
    Case(
        thing("events.k8s.io/v1", "Event", regarding=REGARDING, reason="Why", note="How",
              action="Do", type="Normal", reportingController="a.b/c", reportingInstance="c-0",
              eventTime="2026-01-02T03:04:05.000000Z"),
        "events",
        {},
        ("0s", "Normal", "Why", "pod/p", "", "a.b/c, c-0", "How", "0s", 1, "x"),
        "Last Seen Type Reason Object Subobject Source Message First Seen Count Name",
        ("ev",),
    ),
)  # fmt: skip

CERTIFICATE_CASES = (
    Case(
        thing("certificates.k8s.io/v1", "CertificateSigningRequest", spec={
            "request": signing_request("ann"), "usages": ["client auth"],
            "signerName": "kubernetes.io/kube-apiserver-client", "username": "somebody else"}),
        "certificatesigningrequests",
        {"spec.username": "admin", "spec.groups": ["system:masters"]},
        ("x", "0s", "kubernetes.io/kube-apiserver-client", "admin", "<none>", "Pending"),
        "Name Age SignerName Requestor RequestedDuration Condition",
        ("csr",),
        {"conditions": [{"type": "Failed", "status": "True"}]},
        namespaced=False,
    ),
    Case(
        thing("apiregistration.k8s.io/v1", "APIService", "v1.acme.io", spec={
            "group": "acme.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
            "service": {"namespace": "default", "name": "acme"}}),
        "apiservices",
        {"spec.service.port": 443},
        ("v1.acme.io", "default/acme", "Unknown", "0s"),
        "Name Service Available Age",
        (),
        {"conditions": [{"type": "Available", "status": "False", "reason": "ServiceNotFound"}]},
        namespaced=False,
    ),
    Case(
        thing("certificates.k8s.io/v1", "ClusterTrustBundle", "acme.io:ca:x", spec={
            "signerName": "acme.io/ca", "trustBundle": "-----BEGIN CERTIFICATE-----"}),
        "clustertrustbundles",
        {},
        ("acme.io:ca:x", "acme.io/ca"),
        "Name SignerName",
        namespaced=False,
    ),
)  # fmt: skip

MORE_CASES = (*CERTIFICATE_CASES, *VERSIONED_CASES, *NETWORKING_CASES, *STORAGE_CASES, *OTHER_CASES)
