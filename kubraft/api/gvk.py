"""Group, version and kind: how a type of object is named on every seam."""

from __future__ import annotations

from typing import Any, NamedTuple


class GroupVersionKind(NamedTuple):
    """Names a kind, for example ("apps", "v1", "Deployment"); the core group is ""."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """The `apiVersion` field: "v1" or "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.api_version}, Kind={self.kind}"


def parse_api_version(api_version: str) -> tuple[str, str]:
    """Split "apps/v1" into ("apps", "v1"), and "v1" into ("", "v1").

    Raises:
        ValueError: more than one slash, or an empty version.
    """
    group, slash, version = api_version.rpartition("/")
    if not version or "/" in group or (slash and not group):
        raise ValueError(f"unexpected GroupVersion string: {api_version}")
    return group, version


def gvk_of(obj: dict[str, Any]) -> GroupVersionKind:
    """The kind that `obj` says it is.

    Raises:
        ValueError: `apiVersion` or `kind` is missing or malformed.
    """
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str) or not kind:
        raise ValueError("apiVersion and kind must be set")
    return GroupVersionKind(*parse_api_version(api_version), kind)


NAMESPACE = GroupVersionKind("", "v1", "Namespace")
NODE = GroupVersionKind("", "v1", "Node")
POD = GroupVersionKind("", "v1", "Pod")
BINDING = GroupVersionKind("", "v1", "Binding")
SERVICE = GroupVersionKind("", "v1", "Service")
CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
SECRET = GroupVersionKind("", "v1", "Secret")
SERVICE_ACCOUNT = GroupVersionKind("", "v1", "ServiceAccount")
EVENT = GroupVersionKind("", "v1", "Event")
ENDPOINTS = GroupVersionKind("", "v1", "Endpoints")
REPLICATION_CONTROLLER = GroupVersionKind("", "v1", "ReplicationController")
PERSISTENT_VOLUME = GroupVersionKind("", "v1", "PersistentVolume")
PERSISTENT_VOLUME_CLAIM = GroupVersionKind("", "v1", "PersistentVolumeClaim")
LIMIT_RANGE = GroupVersionKind("", "v1", "LimitRange")
RESOURCE_QUOTA = GroupVersionKind("", "v1", "ResourceQuota")
REPLICA_SET = GroupVersionKind("apps", "v1", "ReplicaSet")
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
STATEFUL_SET = GroupVersionKind("apps", "v1", "StatefulSet")
DAEMON_SET = GroupVersionKind("apps", "v1", "DaemonSet")
CONTROLLER_REVISION = GroupVersionKind("apps", "v1", "ControllerRevision")
JOB = GroupVersionKind("batch", "v1", "Job")
CRON_JOB = GroupVersionKind("batch", "v1", "CronJob")
ENDPOINT_SLICE = GroupVersionKind("discovery.k8s.io", "v1", "EndpointSlice")
LEASE = GroupVersionKind("coordination.k8s.io", "v1", "Lease")
IP_ADDRESS = GroupVersionKind("networking.k8s.io", "v1", "IPAddress")
SERVICE_CIDR = GroupVersionKind("networking.k8s.io", "v1", "ServiceCIDR")
ROLE = GroupVersionKind("rbac.authorization.k8s.io", "v1", "Role")
ROLE_BINDING = GroupVersionKind("rbac.authorization.k8s.io", "v1", "RoleBinding")
CLUSTER_ROLE = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRole")
CLUSTER_ROLE_BINDING = GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding")
CUSTOM_RESOURCE_DEFINITION = GroupVersionKind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition"
)
CERTIFICATE_SIGNING_REQUEST = GroupVersionKind(
    "certificates.k8s.io", "v1", "CertificateSigningRequest"
)
POD_DISRUPTION_BUDGET = GroupVersionKind("policy", "v1", "PodDisruptionBudget")
STORAGE_CLASS = GroupVersionKind("storage.k8s.io", "v1", "StorageClass")
VOLUME_ATTACHMENT = GroupVersionKind("storage.k8s.io", "v1", "VolumeAttachment")
CSI_NODE = GroupVersionKind("storage.k8s.io", "v1", "CSINode")
RESOURCE_SLICE = GroupVersionKind("resource.k8s.io", "v1", "ResourceSlice")
PRIORITY_CLASS = GroupVersionKind("scheduling.k8s.io", "v1", "PriorityClass")
SCALE = GroupVersionKind("autoscaling", "v1", "Scale")
EVICTION = GroupVersionKind("policy", "v1", "Eviction")
TOKEN_REQUEST = GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest")
TOKEN_REVIEW = GroupVersionKind("authentication.k8s.io", "v1", "TokenReview")
SELF_SUBJECT_REVIEW = GroupVersionKind("authentication.k8s.io", "v1", "SelfSubjectReview")
SUBJECT_ACCESS_REVIEW = GroupVersionKind("authorization.k8s.io", "v1", "SubjectAccessReview")
LOCAL_SUBJECT_ACCESS_REVIEW = GroupVersionKind(
    "authorization.k8s.io", "v1", "LocalSubjectAccessReview"
)
SELF_SUBJECT_ACCESS_REVIEW = GroupVersionKind(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview"
)
SELF_SUBJECT_RULES_REVIEW = GroupVersionKind("authorization.k8s.io", "v1", "SelfSubjectRulesReview")
MUTATING_WEBHOOK_CONFIGURATION = GroupVersionKind(
    "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration"
)
VALIDATING_WEBHOOK_CONFIGURATION = GroupVersionKind(
    "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"
)
VALIDATING_ADMISSION_POLICY = GroupVersionKind(
    "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy"
)
VALIDATING_ADMISSION_POLICY_BINDING = GroupVersionKind(
    "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding"
)
MUTATING_ADMISSION_POLICY = GroupVersionKind(
    "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy"
)
MUTATING_ADMISSION_POLICY_BINDING = GroupVersionKind(
    "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding"
)
