"""Approves the client certificates of nodes, signs what is approved, drops what is old."""

from __future__ import annotations

import base64
from datetime import timedelta

from cryptography import x509

from agents.controllers.certificates.request import (
    RefusedError,
    check,
    condition_of,
    decided,
    is_kubelet_client,
    is_of_itself,
    left_s,
    parsed,
    wants_signing,
)
from agents.controllers.certificates.signing import Authority, read_authority, sign
from agents.controllers.context import Context
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import CERTIFICATE_SIGNING_REQUEST, SUBJECT_ACCESS_REVIEW
from kubraft.api.object import Object, ObjectKey, key_of, uid_of
from kubraft.client.controller import Controller
from kubraft.client.informer import Handler

_SIGNED_AT_ONCE = 5


class CertificateApprover:
    """Approves what a node asks for itself, and who may ask for nodes, by access review."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._requests = context.informers.of(CERTIFICATE_SIGNING_REQUEST)
        self._controller = Controller(
            "certificatesigningrequest-approving-controller", self.reconcile, clock=context.clock
        )
        self._requests.add_handler(_adder(self._controller))

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Approve the request, where its kind is one that is approved without a person."""
        request = self._requests.get(key)
        if request is None or _is_decided(request):
            return None
        try:
            asked = parsed(request)
        except RefusedError:
            return None
        if not is_kubelet_client(request, asked):
            return None
        message = "Auto approving kubelet client certificate after SubjectAccessReview."
        if is_of_itself(request, asked) and await self._may(request, "selfnodeclient"):
            message = "Auto approving self kubelet client certificate after SubjectAccessReview."
        elif not await self._may(request, "nodeclient"):
            return None
        conditions = decided(request, "Approved", "AutoApproved", message, self._clock.now())
        status = {**(request.get("status") or {}), "conditions": conditions}
        await self._client.update({**request, "status": status}, "approval")
        return None

    async def _may(self, request: Object, subresource: str) -> bool:
        spec = request["spec"]
        review = {
            "apiVersion": SUBJECT_ACCESS_REVIEW.api_version,
            "kind": SUBJECT_ACCESS_REVIEW.kind,
            "metadata": {},
            "spec": {
                **{name: spec[name] for name in ("uid", "groups", "extra") if spec.get(name)},
                "user": spec.get("username", ""),
                "resourceAttributes": {
                    "group": CERTIFICATE_SIGNING_REQUEST.group,
                    "resource": "certificatesigningrequests",
                    "verb": "create",
                    "subresource": subresource,
                    "version": "*",
                },
            },
        }
        answer = await self._client.create(review)
        return bool((answer.get("status") or {}).get("allowed"))


class CertificateSigner:
    """Signs approved requests of Kubernetes' own signers; without an authority, none."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        options = context.options
        self._most = timedelta(seconds=options.cluster_signing_s)
        self._authority: Authority | None = None
        if options.cluster_signing_cert_file and options.cluster_signing_key_file:
            self._authority = read_authority(
                options.cluster_signing_cert_file, options.cluster_signing_key_file
            )
        self._requests = context.informers.of(CERTIFICATE_SIGNING_REQUEST)
        self._controller = Controller(
            "certificatesigningrequest-signing-controller",
            self.reconcile,
            workers=_SIGNED_AT_ONCE,
            clock=context.clock,
        )
        self._requests.add_handler(_adder(self._controller))

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Sign the request, or say why not."""
        request = self._requests.get(key)
        if self._authority is None or request is None or not wants_signing(request):
            return None
        now = self._clock.now()
        status = dict(request.get("status") or {})
        try:
            asked: x509.CertificateSigningRequest = parsed(request)
            check(request, asked)
        except RefusedError as error:
            reason = "SignerValidationFailure"
            status["conditions"] = decided(request, "Failed", reason, str(error), now)
        else:
            pem = sign(self._authority, request, asked, most=self._most, now=now)
            status["certificate"] = base64.b64encode(pem).decode()
        await self._client.update({**request, "status": status}, "status")
        return None


class CertificateCleaner:
    """Deletes requests an hour after their decision, undecided ones after a day."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._requests = context.informers.of(CERTIFICATE_SIGNING_REQUEST)
        self._controller = Controller(
            "certificatesigningrequest-cleaner-controller",
            self.reconcile,
            workers=1,
            clock=context.clock,
        )
        self._requests.add_handler(_adder(self._controller))

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Delete the request if it is old; returns after how long to look again."""
        request = self._requests.get(key)
        if request is None:
            return None
        wait_s = left_s(request, self._clock.now())
        if wait_s > 0:
            return wait_s
        try:
            await self._client.delete(
                CERTIFICATE_SIGNING_REQUEST,
                key.name,
                uid=uid_of(request),
                resource_version=request["metadata"]["resourceVersion"],
            )
        except NotFoundError:
            return None
        return None


def _is_decided(request: Object) -> bool:
    return any(condition_of(request, type_) for type_ in ("Approved", "Denied", "Failed"))


def _adder(controller: Controller[ObjectKey]) -> Handler:
    def add(_old: Object | None, new: Object | None) -> None:
        if new is not None:
            controller.queue.add(key_of(new))

    return add
