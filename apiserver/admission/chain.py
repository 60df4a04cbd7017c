"""The admission plugins in their order: first all mutate, then, before the write, all validate.

Source: upstream's recommended plugin order; hooks of users stand where webhooks would.
"""

from __future__ import annotations

from collections.abc import Sequence

from apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from apiserver.admission.claim_resize import PersistentVolumeClaimResize
from apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from apiserver.admission.figures import AdmissionFigures
from apiserver.admission.limit_ranger import LimitRanger
from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.admission.node_restriction import NodeRestriction
from apiserver.admission.plugin import AdmissionPlugin, Plugin
from apiserver.admission.pod_security.plugin import PodSecurity
from apiserver.admission.pod_topology_labels import PodTopologyLabels
from apiserver.admission.policy.mutating import MutatingAdmissionPolicy
from apiserver.admission.policy.validating import ValidatingAdmissionPolicy
from apiserver.admission.priority import Priority
from apiserver.admission.rbac_escalation import RbacEscalation
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from apiserver.admission.resource_quota import ResourceQuota
from apiserver.admission.runtime_class import RuntimeClass
from apiserver.admission.service_account import ServiceAccount
from apiserver.admission.storage_protection import StorageObjectInUseProtection
from apiserver.admission.webhook.call import Caller
from apiserver.admission.webhook.client import WebhookClient
from apiserver.admission.webhook.mutating import MutatingAdmissionWebhook
from apiserver.admission.webhook.validating import ValidatingAdmissionWebhook
from apiserver.authz import Authorizer

# What may be switched off: upstream's plugins. Those that are not here are as good as that.
# Source: kube-apiserver --help, --disable-admission-plugins.
_OF_UPSTREAM = frozenset(
    (
        *("AlwaysAdmit", "AlwaysDeny", "AlwaysPullImages", "CertificateApproval"),
        *("CertificateSigning", "CertificateSubjectRestriction", "ClusterTrustBundleAttest"),
        *("DefaultIngressClass", "DefaultStorageClass", "DefaultTolerationSeconds"),
        *("DenyServiceExternalIPs", "EventRateLimit", "ExtendedResourceToleration"),
        *("ImagePolicyWebhook", "LimitPodHardAntiAffinityTopology", "LimitRanger"),
        *("MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "NamespaceAutoProvision"),
        *("NamespaceExists", "NamespaceLifecycle", "NodeRestriction"),
        *("OwnerReferencesPermissionEnforcement", "PersistentVolumeClaimResize"),
        *("PersistentVolumeLabel", "PodNodeSelector", "PodSecurity"),
        *("PodTolerationRestriction", "PodTopologyLabels", "Priority", "ResourceQuota"),
        *("RuntimeClass", "ServiceAccount", "StorageObjectInUseProtection"),
        *("TaintNodesByCondition", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook"),
    )
)


class AdmissionChain:
    """Runs the plugins; the first that refuses ends the request."""

    def __init__(
        self, plugins: Sequence[AdmissionPlugin], figures: AdmissionFigures | None = None
    ) -> None:
        self._plugins = tuple(plugins)
        self.figures = figures or AdmissionFigures()
        self._mutating = [each for each in self._plugins if _has_own(each, "mutate")]
        self._validating = [each for each in self._plugins if _has_own(each, "validate")]

    @property
    def names(self) -> list[str]:
        """The plugins in their order."""
        return [plugin.name for plugin in self._plugins]

    async def mutate(self, request: AdmissionRequest) -> None:
        """Let the plugins complete `request.obj`; once more where one of them asks for it.

        Raises:
            ApiError: a plugin refuses; nothing was written.
        """
        with self.figures.step("admit", request.operation):
            await self._mutate(request)
            if request.reinvoke:
                await self._mutate(request)

    async def _mutate(self, request: AdmissionRequest) -> None:
        figures = self.figures
        for plugin in self._mutating:
            if plugin.handles(request):
                with figures.plugin(plugin.name, "admit", request.operation):
                    await plugin.mutate(request)

    async def validate(self, request: AdmissionRequest) -> None:
        """Let the plugins judge what is about to be written.

        Raises:
            ApiError: a plugin refuses.
        """
        figures = self.figures
        with figures.step("validate", request.operation):
            for plugin in self._validating:
                if plugin.handles(request):
                    with figures.plugin(plugin.name, "validate", request.operation):
                        await plugin.validate(request)


def _has_own(plugin: AdmissionPlugin, step: str) -> bool:
    """Whether a plugin does anything in a step."""
    return getattr(type(plugin), step, None) is not getattr(Plugin, step)


def build_chain(
    context: AdmissionContext,
    authorizer: Authorizer,
    hooks: Sequence[AdmissionPlugin] = (),
    *,
    toleration_s: int = 300,
    webhooks: WebhookClient | None = None,
    enabled: Sequence[str] = (),
    disabled: Sequence[str] = (),
) -> AdmissionChain:
    """The built-in plugins with `hooks` (see hook.load_hooks) among them.

    `toleration_s` is how long Pods stay on a node that is not ready or unreachable, unless they
    say otherwise; without `webhooks` none are asked. `disabled` are names of plugins that are left
    out, `enabled` of such as must be there.

    Raises:
        ValueError: there is no plugin of that name.
    """
    caller = Caller(webhooks, authorizer, context.figures) if webhooks else None
    mutating = [MutatingAdmissionWebhook(context, caller)] if caller else []
    validating = [ValidatingAdmissionWebhook(context, caller)] if caller else []
    plugins: list[AdmissionPlugin] = [
        NamespaceLifecycle(context),
        LimitRanger(context.reader),
        ServiceAccount(context),
        NodeRestriction(context.reader),
        PodSecurity(context),
        Priority(context),
        DefaultTolerationSeconds(toleration_s),
        DefaultStorageClass(context),
        StorageObjectInUseProtection(),
        PersistentVolumeClaimResize(context),
        RuntimeClass(context),
        DefaultIngressClass(context),
        PodTopologyLabels(context),
        RbacEscalation(authorizer),
        CertificateApproval(authorizer),
        CertificateSigning(authorizer),
        CertificateSubjectRestriction(),
        *hooks,
        MutatingAdmissionPolicy(context, authorizer),
        *mutating,
        ValidatingAdmissionPolicy(context, authorizer),
        *validating,
        ResourceQuota(context),
    ]
    if unknown := set(disabled) - _OF_UPSTREAM:
        raise ValueError(f"--disable-admission-plugins: no plugin {min(unknown)!r}")
    if missing := set(enabled) - {plugin.name for plugin in plugins}:
        raise ValueError(f"--enable-admission-plugins: {min(missing)} is not offered here")
    kept = [plugin for plugin in plugins if plugin.name not in disabled]
    return AdmissionChain(kept, context.figures)
