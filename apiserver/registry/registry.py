"""The verbs of the API on all kinds, for every front: authorize, then do.

A front translates a request into one call here, and the answer or the error back; it knows
nothing of rules.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from apiserver.admission.request import AdmissionRequest, Operation
from apiserver.apply.updater import Write
from apiserver.concurrent import all_of
from apiserver.registry import apply as applying
from apiserver.registry import attributes, binding, eviction, failures, managed_fields, reviews
from apiserver.registry.call import Call, DeleteOptions, WriteOptions, Written
from apiserver.registry.create import create, placed
from apiserver.registry.delete import delete, delete_authorized
from apiserver.registry.machinery import Machinery
from apiserver.registry.policy import Policy
from apiserver.registry.presentation import (
    presented,
    presented_events,
    presented_list,
    presented_write,
)
from apiserver.registry.resource import Resource
from apiserver.registry.resources import Resources
from apiserver.registry.scale import ScaleView, rescaled, scale_of
from apiserver.registry.scale_managers import only_spec, tracked
from apiserver.registry.strategic_merge import PatchSchema
from apiserver.registry.update import Change, guaranteed_update, patch, update
from apiserver.storage.entry import Entry, WatchEvent
from apiserver.storage.reads import Listing, ListOptions, WatchOptions
from kubraft.api.errors import ApiError, BadRequestError, NotFoundError, ServiceUnavailableError
from kubraft.api.gvk import CUSTOM_RESOURCE_DEFINITION, EVICTION, SCALE, TOKEN_REQUEST
from kubraft.api.object import Object


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which objects of a resource; `resource_version` as clients write it, "" for the newest."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """Which changes; "" begins with what exists, "0" with whatever the cache has of it."""

    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    bookmarks: bool = False
    initial_events: bool = False


# Of one deletecollection: the store then writes many at a time.
DELETES_AT_ONCE = 16


class Registry:
    """All verbs; each raises the errors of kubraft.api.errors and nothing else on purpose."""

    def __init__(self, machinery: Machinery, policy: Policy) -> None:
        self.machinery = machinery
        self.policy = policy

    @property
    def resources(self) -> Resources:
        return self.machinery.resources

    async def settle(self) -> None:
        """Wait until the kinds that were established before this call are served here too.

        Another server may have established them. Where the store cannot be asked, what is known
        must do.
        """
        row = self.resources[CUSTOM_RESOURCE_DEFINITION]
        with contextlib.suppress(ApiError):
            await self.machinery.reads.get(row.prefix, row.key("", "-"))

    async def get(self, call: Call, resource_version: str = "") -> Entry:
        """One object, as fresh as a quorum read where no resourceVersion is given."""
        self.policy.check(call, "get")
        if call.subresource not in ("", "status", "approval", *call.resource.strategy.parts):
            raise failures.not_supported(call.resource, "get")
        entry = await self.machinery.reads.get(
            call.resource.prefix, call.key, resource_version=_version(resource_version)
        )
        if entry is None:
            raise failures.not_found(call.resource, call.name)
        return await presented(call.resource, entry)

    async def list(self, call: Call, query: ListQuery) -> Listing:
        """A page of objects in key order."""
        return await presented_list(call.resource, await self._list(call, "list", query))

    async def _list(self, call: Call, verb: str, query: ListQuery) -> Listing:
        self.policy.check(
            _named(call, query.field_selector), verb, field_selector=query.field_selector
        )
        selection = attributes.select(call.resource, query.label_selector, query.field_selector)
        if query.limit < 0:
            raise BadRequestError("limit must not be negative")
        options = ListOptions(
            limit=query.limit,
            continue_token=query.continue_token,
            resource_version=_version(query.resource_version),
            exact=_exact(query),
            predicate=selection.predicate,
        )
        within = call.resource.within(call.namespace)
        return await self.machinery.reads.list(call.resource.prefix, within, options)

    def watch(self, call: Call, query: WatchQuery) -> AsyncGenerator[WatchEvent]:
        """Changes in order; authorization and the query are checked before this returns."""
        self.policy.check(
            _named(call, query.field_selector), "watch", field_selector=query.field_selector
        )
        selection = attributes.select(call.resource, query.label_selector, query.field_selector)
        after = _version(query.resource_version) or None
        if query.initial_events:
            after = None
        options = WatchOptions(
            after=after,
            stale_ok=query.resource_version == "0" and not query.initial_events,
            initial_end=query.initial_events,
            bookmarks=query.bookmarks,
            predicate=selection.predicate,
        )
        within = call.resource.within(call.namespace)
        stream = self.machinery.reads.watch(call.resource.prefix, within, options)
        return stream if call.resource.form is None else presented_events(call.resource, stream)

    async def create(self, call: Call, obj: Object, options: WriteOptions) -> Written:
        """Store a new object."""
        if call.subresource:
            raise failures.not_supported(call.resource, "create")
        written = await create(self.machinery, self.policy, call, obj, options)
        return await presented_write(call.resource, written)

    async def update(self, call: Call, obj: Object, options: WriteOptions) -> Written:
        """Replace an object or one of its subresources."""
        _check_writable(call)
        written = await update(self.machinery, self.policy, call, obj, options)
        return await presented_write(call.resource, written)

    async def patch(self, call: Call, change: Change, options: WriteOptions) -> Written:
        """Change an object or one of its subresources."""
        _check_writable(call)
        written = await patch(self.machinery, self.policy, call, change, options)
        return await presented_write(call.resource, written)

    async def apply(
        self, call: Call, config: Object, options: WriteOptions, *, force: bool
    ) -> tuple[Written, bool]:
        """Server-side apply to an object or its status; whether it had to be created."""
        _check_writable(call)
        written, made = await applying.apply(
            self.machinery, self.policy, call, config, options, force=force
        )
        return await presented_write(call.resource, written), made

    async def delete(self, call: Call, options: DeleteOptions) -> Written:
        """Delete an object, or begin to."""
        written = await delete(self.machinery, self.policy, call, options)
        return await presented_write(call.resource, written)

    async def delete_collection(
        self, call: Call, query: ListQuery, options: DeleteOptions
    ) -> Listing:
        """Delete, or begin to, what a list would show; the answer is that list."""
        if "deletecollection" not in call.resource.verbs:
            raise failures.not_supported(call.resource, "deletecollection")
        listing = await self._list(call, "deletecollection", query)
        gone: dict[str, Entry] = {}
        left = iter(listing.entries)

        async def work() -> None:
            for entry in left:
                metadata = entry.view()["metadata"]
                namespace, name = metadata.get("namespace", ""), metadata["name"]
                one = replace(call, namespace=namespace, name=name)
                with contextlib.suppress(NotFoundError):  # somebody else was faster
                    written = await delete_authorized(self.machinery, self.policy, one, options)
                    gone[entry.key] = written.entry

        await all_of(work() for _ in range(min(DELETES_AT_ONCE, len(listing.entries))))
        in_order = [gone[entry.key] for entry in listing.entries if entry.key in gone]
        return await presented_list(call.resource, listing._replace(entries=in_order))

    async def get_scale(self, call: Call) -> Object:
        """The scale of a workload; `call` names the subresource."""
        self.policy.check(call, "get")
        return await self._scale(call, await self._find(call))

    async def change_scale(
        self, call: Call, verb: str, change: Change, options: WriteOptions
    ) -> Object:
        """Change the scale of a workload; `verb` is update or patch, and asked for as such."""
        self.policy.check(call, verb)
        write = self._scale_write(call, options)
        return await self._change_scale(call, tracked(change, write), options)

    async def apply_scale(
        self, call: Call, config: Object, options: WriteOptions, *, force: bool
    ) -> Object:
        """Server-side apply of a scale."""
        self.policy.check(call, "patch")
        applying.check_config(SCALE, config)
        change = applying.change_of(self._scale_write(call, options), config, force=force)
        return await self._change_scale(call, change, options)

    def _scale_write(self, call: Call, options: WriteOptions) -> Write:
        machinery = self.machinery
        whole = managed_fields.write_of(machinery, call, options)
        return replace(whole, type=machinery.schemas.merge_type(SCALE), keeps=only_spec)

    async def _change_scale(self, call: Call, change: Change, options: WriteOptions) -> Object:
        paths = call.resource.custom.scale if call.resource.custom else None
        change = rescaled(change, self.machinery.schemas, options.field_validation, paths)
        whole, options = replace(call, subresource=""), replace(options, managed=True)
        written = await guaranteed_update(
            self.machinery, self.policy, whole, change, options, view=ScaleView(paths)
        )
        return await self._scale(call, written.entry)

    async def evict(
        self,
        call: Call,
        obj: Object,
        deletion: DeleteOptions,
        options: WriteOptions = WriteOptions(),  # noqa: B008 - frozen
    ) -> Object:
        """Create pods/eviction: deletes the Pod where it may go; the answer is a Status.

        Admission judges the Eviction and, as upstream, not the deletion that comes of it.
        """
        call = replace(placed(call, obj), subresource="eviction")
        self.policy.check(call, "create")
        self.machinery.schemas.decode(EVICTION, obj, options.field_validation)
        await self.policy.admit(
            AdmissionRequest(
                Operation.CREATE,
                call.user,
                EVICTION,
                call.resource.plural,
                call.subresource,
                call.namespace,
                call.name,
                obj=obj,
                dry_run=deletion.dry_run,
                options=options.as_object("CreateOptions"),
                parent=call.resource.gvk,
            )
        )
        whole = replace(call, subresource="")
        trusted = replace(deletion, trusted=True)
        await eviction.evict(self.machinery, self.policy, whole, trusted)
        return binding.SUCCESS

    async def review(
        self,
        call: Call,
        obj: Object,
        authenticate: reviews.Authenticate,
        options: WriteOptions,
    ) -> Object:
        """Create a review: the question with its answer. `call` has a row of REVIEWS."""
        self.policy.check(call, "create")
        decoded = self.machinery.schemas.decode(call.resource.gvk, obj, options.field_validation)
        return await reviews.review(
            self.policy, authenticate, call.user, call.namespace, decoded.obj
        )

    def patch_schema(self, resource: Resource) -> PatchSchema | None:
        """What strategic merges of a kind go by; None for custom kinds, which know none."""
        if resource.custom is not None:
            return None
        return PatchSchema.of(*self.machinery.schemas.definition(resource.gvk))

    async def bind(self, call: Call, obj: Object, options: WriteOptions) -> Object:
        """Create pods/binding; the answer is a Status."""
        call = replace(placed(call, obj), subresource="binding")
        await binding.bind(self.machinery, self.policy, call, obj, options)
        return binding.SUCCESS

    async def create_token(
        self,
        call: Call,
        request: Object,
        options: WriteOptions = WriteOptions(),  # noqa: B008 - frozen
    ) -> Object:
        """Create serviceaccounts/token: the TokenRequest with its status."""
        call = replace(placed(call, request), subresource="token")
        self.policy.check(call, "create")
        if self.policy.issuer is None:
            raise ServiceUnavailableError(
                "tokens cannot be issued: the server has no --service-account-signing-key-file"
            )
        entry = await self._find(call)
        decoded = self.machinery.schemas.decode(TOKEN_REQUEST, request).obj
        admission = AdmissionRequest(
            Operation.CREATE,
            call.user,
            TOKEN_REQUEST,
            call.resource.plural,
            call.subresource,
            call.namespace,
            call.name,
            obj=decoded,
            dry_run=options.dry_run,
            options=options.as_object("CreateOptions"),
            parent=call.resource.gvk,
        )
        await self.policy.admit(admission)
        return await self.policy.issuer.issue(entry.decode(), admission.obj or decoded)

    async def _scale(self, call: Call, entry: Entry) -> Object:
        paths = call.resource.custom.scale if call.resource.custom else None
        return scale_of((await presented(call.resource, entry)).decode(), paths)

    async def _find(self, call: Call) -> Entry:
        entry = await self.machinery.reads.get(call.resource.prefix, call.key)
        if entry is None:
            raise failures.not_found(call.resource, call.name)
        return entry


def _check_writable(call: Call) -> None:
    if call.subresource and call.subresource not in call.resource.subresources:
        raise NotFoundError("the server could not find the requested resource")
    parts = call.resource.strategy.parts
    if call.subresource not in ("", "status", "finalize", "approval", *parts):
        raise failures.not_supported(call.resource, "update")


def _named(call: Call, field_selector: str) -> Call:
    """A list or watch of one name is authorized as such, as upstream."""
    if call.name or "metadata.name=" not in field_selector:
        return call
    selection = attributes.select(call.resource, "", field_selector)
    return replace(call, name=selection.name or "")


def _version(text: str) -> int | None:
    """A resourceVersion as a revision; None for "".

    Raises:
        BadRequestError: it is no number.
    """
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise BadRequestError(f'Invalid value: "{text}": resourceVersion must be a number')
    return int(text)


def _exact(query: ListQuery) -> bool:
    match = query.resource_version_match
    if match not in ("", "Exact", "NotOlderThan"):
        raise BadRequestError(
            f'resourceVersionMatch: Unsupported value: "{match}": '
            'supported values: "Exact", "NotOlderThan"'
        )
    if match and not query.resource_version:
        raise BadRequestError(
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless "
            "resourceVersion is provided"
        )
    if match == "Exact" and query.resource_version == "0":
        raise BadRequestError(
            'resourceVersionMatch: Forbidden: resourceVersionMatch "Exact" is forbidden for '
            'resourceVersion "0"'
        )
    # A limited list at a version means that version, as upstream.
    return match == "Exact" or (
        not match and bool(query.limit) and query.resource_version not in ("", "0")
    )
