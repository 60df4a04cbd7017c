"""ServiceAccount tokens for Pods: asked of the API server, kept until most of their time is up."""

from __future__ import annotations

from dataclasses import dataclass

from kubraft.api.gvk import TOKEN_REQUEST
from kubraft.api.object import Object
from kubraft.api.time import Clock, parse_time
from kubraft.client.client import ApiClient

# A token is renewed when this part of its life is over, as upstream.
_RENEW_AT = 0.8


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at_s: float


class ServiceAccountTokens:
    """The tokens of this node's Pods. They are in memory and in the Pods' volumes only."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._tokens: dict[tuple[str, str, int], _Token] = {}

    async def get(self, pod: Object, audience: str, seconds: int) -> str:
        """A token bound to `pod`, valid for `seconds` when it was made.

        Raises:
            ApiError: the API server gives none.
        """
        key = (pod["metadata"]["uid"], audience, seconds)
        known = self._tokens.get(key)
        if known is not None and self._clock.monotonic_s() < known.renew_at_s:
            return known.text
        answer = await self._client.create_token(
            pod["spec"].get("serviceAccountName") or "default",
            pod["metadata"]["namespace"],
            _request(pod, audience, seconds),
        )
        status = answer["status"]
        left_s = (parse_time(status["expirationTimestamp"]) - self._clock.now()).total_seconds()
        renew_at_s = self._clock.monotonic_s() + left_s * _RENEW_AT
        self._tokens[key] = _Token(status["token"], renew_at_s)
        return self._tokens[key].text

    def forget(self, uid: str) -> None:
        """Drop the tokens of a Pod that is gone."""
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]


def _request(pod: Object, audience: str, seconds: int) -> Object:
    return {
        "apiVersion": TOKEN_REQUEST.api_version,
        "kind": TOKEN_REQUEST.kind,
        "metadata": {"namespace": pod["metadata"]["namespace"]},
        "spec": {
            "audiences": [audience] if audience else [],
            "expirationSeconds": seconds,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod["metadata"]["name"],
                "uid": pod["metadata"]["uid"],
            },
        },
    }
