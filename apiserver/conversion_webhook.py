"""Asks the conversion webhooks of CustomResourceDefinitions."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from apiserver.admission.webhook.client import WebhookClient
from apiserver.admission.webhook.hook import CallError, Hook
from apiserver.registry.custom.conversion_review import ConversionError, answer, question
from kubraft.api.errors import InternalError
from kubraft.api.object import Object

TIMEOUT_S: Final = 30
# Of a list, so many go into one question.
OBJECTS_MAX: Final = 500


class WebhookConverter:
    """Implements apiserver.registry.custom.kind.Converter for one definition."""

    def __init__(self, client: WebhookClient, name: str, webhook: dict[str, Any]) -> None:
        """`webhook` is the definition's `spec.conversion.webhook`."""
        self._client = client
        self._versions = tuple(webhook.get("conversionReviewVersions") or ())
        config = {"name": name, "clientConfig": webhook.get("clientConfig") or {}}
        self._hook = Hook(name, 0, {**config, "timeoutSeconds": TIMEOUT_S})

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        made: list[Object] = []
        for start in range(0, len(objects), OBJECTS_MAX):
            made += await self._convert(objects[start : start + OBJECTS_MAX], api_version)
        return made

    async def _convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        uid = str(uuid.uuid4())
        try:
            body = question(objects, api_version, uid, self._versions)
            raw = await self._client.post(self._hook, body)
            return answer(raw, objects, api_version, uid)
        except CallError as error:
            kind = f"{objects[0]['apiVersion']}, Kind={objects[0]['kind']}"
            why = str(error).removeprefix("failed to call webhook: ")
            raise InternalError(f"conversion webhook for {kind} failed: {why}") from error
        except ConversionError as error:
            raise InternalError(str(error)) from error
