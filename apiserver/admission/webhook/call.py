"""One call of a webhook, from the request to what it said.

Source: upstream's mutating and validating dispatchers (order of checks, messages).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from apiserver import notes
from apiserver.admission.conditions import ConditionError, all_hold
from apiserver.admission.figures import AdmissionFigures, ErrorType
from apiserver.admission.request import AdmissionRequest
from apiserver.admission.variables import checker, request_variables
from apiserver.admission.webhook import review
from apiserver.admission.webhook.client import WebhookClient
from apiserver.admission.webhook.hook import CallError, Hook, RejectedError
from apiserver.admission.webhook.review import InvalidResponseError, Response, UndecodablePatchError
from apiserver.authz import Authorizer
from apiserver.cel.authorizer import deciding
from kubraft.api.errors import InternalError
from kubraft.log import get_logger

_log = get_logger("apiserver.admission")


class Caller:
    """Asks webhooks; what they say beside yes and no goes to the request's notes."""

    def __init__(
        self,
        client: WebhookClient,
        authorizer: Authorizer,
        figures: AdmissionFigures,
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._client = client
        self._authorizer = authorizer
        self.figures = figures
        self._new_uid = new_uid

    def condition_holds(self, hook: Hook, request: AdmissionRequest, sort: str) -> bool:
        """Whether the matchConditions of a webhook let it be asked.

        Raises:
            ForbiddenError: that cannot be said, and the webhook counts.
        """
        if not hook.match_conditions:
            return True
        figures = self.figures
        with (
            deciding(checker(self._authorizer, request.user)),
            figures.conditions(hook.name, "webhook", sort, request.operation) as conditions,
        ):
            try:
                conditions.hold = all_hold(hook.match_conditions, request_variables(request))
            except ConditionError as error:
                conditions.failures = error.count
                if not hook.ignores_failure:
                    raise request.forbidden(str(error)) from error
        return conditions.hold

    @contextmanager
    def observed(self, hook: Hook, request: AdmissionRequest, sort: str) -> Iterator[None]:
        """Counts how a call of a webhook ends; `sort` is "admit" or "validating"."""
        began, code, cause = self.figures.seconds(), 200, None
        ended: ErrorType | None = None
        try:
            yield
        except RejectedError as error:
            code, ended = error.error.code, "no_error"
            raise
        except CallError as error:
            code, cause = error.code, error
            ended = None if hook.ignores_failure else "calling_webhook_error"
            raise
        except BaseException:
            code, ended = 0, "apiserver_internal_error"
            raise
        finally:
            took = self.figures.seconds() - began
            asked = (hook.name, sort, str(request.operation))
            self.figures.called(asked, took, code, ended)
            if cause is not None and hook.ignores_failure:
                self.figures.failed_open(hook.name, sort)

    async def ask(self, hook: Hook, request: AdmissionRequest, *, mutating: bool) -> Response:
        """What a webhook that says yes answers.

        Raises:
            RejectedError: it says no, or cannot be asked on a dry run.
            CallError: it does not answer, or not what makes sense.
        """
        if request.dry_run and not hook.dry_runs:
            raise RejectedError(review.unsupported_dry_run(hook.name))
        uid = self._new_uid()
        try:
            version = review.review_version(hook.versions)
        except InvalidResponseError as error:
            raise CallError(f"could not create admission objects: {error}", 400) from error
        body = await self._client.post(hook, review.review_of(uid, version, request))
        try:
            response = review.read_response(body, uid, version, mutating=mutating)
        except UndecodablePatchError as error:
            raise CallError(f"received undecodable patch in webhook response: {error}") from error
        except InvalidResponseError as error:
            raise CallError(f"received invalid webhook response: {error}") from error
        for key, value in response.annotations.items():
            notes.annotate(f"{hook.name}/{key}", value)
        for text in response.warnings:
            notes.warn(text)
        if not response.allowed:
            raise RejectedError(review.denial(hook.name, response.result))
        return response


def fail_closed(hook: Hook, error: CallError) -> InternalError:
    """What the client is told where a webhook that counts cannot be asked."""
    _log.warning("webhook_failed_closed", webhook=hook.name, cause=str(error))
    return InternalError(f'Internal error occurred: failed calling webhook "{hook.name}": {error}')


def fail_open(hook: Hook, error: CallError, key: str) -> None:
    """Note that a webhook was passed over."""
    _log.warning("webhook_failed_open", webhook=hook.name, cause=str(error))
    notes.annotate(key, hook.name)
