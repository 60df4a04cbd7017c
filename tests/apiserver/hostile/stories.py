"""What an odd client does with one object: all verbs, all forms, nothing of it quite right."""

from __future__ import annotations

import json
from typing import Any

from apiserver.registry.resource import Resource
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object
from tests.apiserver.hostile.in_memory import Front, Recorded, check_answer
from tests.apiserver.hostile.mutation import Mutator

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
PATCHES = (JSON_PATCH, MERGE, "application/strategic-merge-patch+json", APPLY)
OPTIONS = ("", "&force=true", "&dryRun=All", "&fieldValidation=Strict")
PLACES = (
    *("/spec", "/metadata/labels/a", "/status/x", "/metadata/finalizers/-", "", "/", "/metadata"),
    *("/spec/template/0", "/spec/containers/-1", "/spec/containers/999999", "~2", "/~1~0", "spec"),
)
OPERATIONS = ("add", "replace", "remove", "test", "copy", "move", "x")
SUBRESOURCES = ("status", "scale", "approval", "finalize")
DELETE_OPTIONS = {
    "type": "object",
    "properties": {
        "gracePeriodSeconds": {"type": "integer"},
        "propagationPolicy": {"enum": ["Orphan", "Background", "Foreground", "x"]},
        "dryRun": {"type": "array", "items": {"type": "string"}},
        "preconditions": {"type": "object"},
        "orphanDependents": {"type": "boolean"},
    },
}


class Story:
    """One object, from its creation to its end."""

    def __init__(self, front: Front, mutator: Mutator, row: Resource) -> None:
        self._front = front
        self._mutator = mutator
        self._row = row
        base = f"/apis/{row.gvk.group}" if row.gvk.group else "/api"
        place = "/namespaces/default" if row.namespaced else ""
        self._base = f"{base}/{row.gvk.version}{place}/{row.plural}"

    async def tell(self, seed: Object, status: Object | None = None) -> None:
        """Raises AssertionError where an answer is none."""
        kind = gvk_of(seed)
        made = await self._ask("POST", self._base, self._mutator.mutated(seed, kind))
        if made.status != 201:
            made = await self._ask("POST", self._base, seed)
        name = made.json()["metadata"].get("name", "x") if made.status == 201 else "x"
        path = f"{self._base}/{name}"
        for sub in ("", *(each for each in SUBRESOURCES if each in self._row.subresources)):
            await self._change(f"{path}/{sub}" if sub else path, seed, status if sub else None)
        for accept in (TABLE, METADATA, "application/yaml"):
            await self._ask("GET", path, accept=accept)
        await self._ask("GET", self._base, accept=TABLE)
        await self._ask("DELETE", path, self._mutator.made(DELETE_OPTIONS, 0))
        await self._ask("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE)
        await self._ask("DELETE", f"{path}?gracePeriodSeconds=0")

    async def _change(self, path: str, seed: Object, status: Object | None) -> None:
        mutator, kind = self._mutator, gvk_of(seed)
        found = await self._ask("GET", path)
        current: Any = found.json() if found.status == 200 else dict(seed)
        if status is not None and mutator.random.random() < 0.5:
            current["status"] = status
        await self._ask("PUT", path, mutator.mutated(current, kind))
        form = mutator.random.choice(PATCHES)
        patch = self._json_patch() if form == JSON_PATCH else mutator.mutated(current, kind)
        if isinstance(patch, dict) and isinstance(patch.get("metadata"), dict):
            patch["metadata"].pop("resourceVersion", None)
            patch["metadata"].pop("managedFields", None)
        options = mutator.random.choice(OPTIONS)
        await self._ask("PATCH", f"{path}?fieldManager=m{options}", patch, kind=form)

    def _json_patch(self) -> list[Object]:
        choice = self._mutator.random.choice
        return [
            {
                "op": choice(OPERATIONS),
                "path": choice(PLACES),
                "from": choice(PLACES),
                "value": self._mutator.made({}, 0),
            }
            for _ in range(choice((1, 2)))
        ]

    async def _ask(
        self, method: str, path: str, body: Any = None, *, kind: str = "", accept: str = ""
    ) -> Recorded:
        headers = [("accept", accept)] if accept else []
        found = await self._front.ask(
            method, path, body, kind=kind or "application/json", headers=headers
        )
        try:
            check_answer(found)
        except AssertionError as error:
            text = f"{method} {path} {kind} {json.dumps(body)[:4000]}"
            raise AssertionError(text) from error
        return found
