"""One API server: puts the parts together, starts them in order, and stops them cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from dataclasses import replace
from datetime import timedelta
from random import SystemRandom

from apiserver.admission import build_chain, load_hooks
from apiserver.admission.figures import AdmissionFigures
from apiserver.admission.webhook.client import WebhookClient
from apiserver.aggregation.aggregator import Aggregator
from apiserver.aggregation.remote_objects import RemoteObjects
from apiserver.audit.log_file import LogFile
from apiserver.audit.policy import Policy as AuditPolicy
from apiserver.audit.policy import load_policy
from apiserver.audit.record import Auditor
from apiserver.authn import Authenticator
from apiserver.authn.assembly import TokenSources
from apiserver.authn.certificate import CertificateAuthenticator
from apiserver.authn.issuer_documents import JWKS_PATH, issuer_documents
from apiserver.authn.service_account import ServiceAccountAuthenticator
from apiserver.authn.token_file import TokenFile, load_token_file
from apiserver.authn.token_issuer import TokenIssuer
from apiserver.authz import Authorizer
from apiserver.bootstrap import bootstrap
from apiserver.connect.front import ConnectFront
from apiserver.conversion_webhook import WebhookConverter
from apiserver.definition_controller import DefinitionController
from apiserver.flow.control import FlowControl
from apiserver.flow.objects import FLOW_SCHEMA, ensure_flow_objects, follow
from apiserver.flow.status import FlowStatus
from apiserver.kubernetes_service import Advertised, KubernetesService
from apiserver.options import Options, check_files
from apiserver.policy_status import PolicyStatus
from apiserver.registry.admission_context import make_context
from apiserver.registry.allocator import ServiceAllocator
from apiserver.registry.custom.follower import DefinitionFollower
from apiserver.registry.internal import CacheReader, InternalWriter
from apiserver.registry.machinery import Machinery
from apiserver.registry.policy import Policy
from apiserver.registry.registry import Registry
from apiserver.registry.resources import Resources, kinds
from apiserver.registry.reviews import REVIEWS
from apiserver.rest.front import RestFront
from apiserver.rpc.body import BODY_BYTES_MAX
from apiserver.rpc.logs import PodLogs, PodsService
from apiserver.rpc.objects import ObjectsService
from apiserver.rpc.server import RpcServer, ServerTls
from apiserver.runtime_config import offered_by
from apiserver.schema.schemas import Schemas
from apiserver.storage.cached_reads import CachedReads
from apiserver.storage.compactor import Compactor
from apiserver.storage.encrypted_store import EncryptedStore, KnownReads
from apiserver.storage.encryption_file import EncryptionFile
from apiserver.storage.endpoints import Endpoints
from apiserver.storage.etcd_store import EtcdStore
from apiserver.storage.reads import Reads
from apiserver.storage.store import Store
from apiserver.storage.watch_cache import CacheBehindError, WatchCache
from apiserver.tls import https_context, node_context, node_tls, store_tls
from kubraft.api.errors import ApiError, ServiceUnavailableError
from kubraft.api.gvk import SERVICE
from kubraft.api.time import Clock, SystemClock
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.health.checks import ping
from kubraft.health.front import HealthFront
from kubraft.log import get_logger
from kubraft.signing_keys import load_signing_key, load_verifying_keys

STORE_CHECK_TIMEOUT_S = 2.0
STOP_GRACE_S = 2.0
# Of one HTTP/2 connection. Source: kube-apiserver, --http2-max-streams-per-connection.
# A connection that is not used goes after as long as upstream's.
_LIMITS = Limits(
    message_bytes_max=BODY_BYTES_MAX, streams_max=1000, ping_interval_s_min=0, idle_s=90.0
)

_log = get_logger("apiserver")


class ApiServer:
    """Owns every task and socket of the process; `run` is its whole life."""

    def __init__(
        self, options: Options, clock: Clock | None = None, store: Store | None = None
    ) -> None:
        """`store` stands in for the one of --etcd-servers.

        Raises:
            OSError, ValueError: a file or flag cannot be used.
        """
        check_files(options)
        self._options = options
        self._clock = clock or SystemClock()
        self._ready = False
        self._stopping = asyncio.Event()
        self._failed: RuntimeError | None = None
        # Replicas begin with different members, so that not all of them lose the same one.
        store = store or EtcdStore(
            Endpoints(options.etcd_servers, store_tls(options), first=os.getpid())
        )
        resources = Resources(offered=offered_by(options.runtime_config))
        options.runtime_config.check((*resources, *REVIEWS))
        config = options.encryption_provider_config
        self._encryption = EncryptionFile(config) if config else None
        if self._encryption is not None:
            folders = {row.prefix: (row.gvk.group, row.plural) for row in resources}
            store = EncryptedStore(store, self._encryption.read(), folders)
        self._store = store
        self._cache = WatchCache(self._store, [row.prefix for row in resources])
        self._reader = CacheReader(self._cache, resources)
        rng = SystemRandom()
        allocator = ServiceAllocator(
            lambda: self._reader.list(SERVICE), rng, options.service_cluster_ip_range
        )
        machinery = Machinery(
            store=self._store,
            reads=self._make_reads(),
            resources=resources,
            schemas=Schemas(kinds(resources)),
            services=allocator,
            clock=self._clock,
            rng=rng,
        )
        self._writer = InternalWriter(machinery, lambda: self._registry.policy)
        self._machinery = machinery
        policy, self._audit_log = _audit_log(options, self._clock)
        log = self._audit_log
        self._auditor = Auditor(policy, log.put, self._clock.now) if log else None
        self._webhooks = WebhookClient(self._reader, rng)
        self._authorizer = Authorizer(self._reader)
        self.flow = FlowControl(
            options.requests_in_flight_max,
            count=self._count,
        )
        self._has_flow_objects = resources.find(FLOW_SCHEMA.api_version, FLOW_SCHEMA.kind)
        if self._has_flow_objects:
            follow(self.flow, self._reader)
        self._keys = load_verifying_keys(options.service_account_key_files)
        self._sources = TokenSources(options.authentication, self._reader, self._now_s)
        self._authenticator = self._make_authenticator()
        self._figures = AdmissionFigures()
        self._registry = Registry(machinery, self._make_policy(rng))
        DefinitionFollower(
            self._reader,
            resources,
            self._end_watches,
            lambda name, webhook: WebhookConverter(self._webhooks, name, webhook),
        )
        self._policy_status = PolicyStatus(self._reader, self._writer, machinery)
        self._definitions = DefinitionController(
            self._reader, self._writer, machinery, self._registry.policy
        )
        self._aggregator = Aggregator(
            self._reader,
            self._writer,
            resources,
            tuple(filter(resources.offered, REVIEWS)),
            options=options.aggregation,
            client_ca=options.client_ca_file.read_text(encoding="ascii"),
            clock=self._clock,
            rng=rng,
        )
        nodes = node_tls(options)
        self._service = KubernetesService(
            self._reader,
            self._writer,
            self._clock,
            identity=options.identity,
            advertised=Advertised(options.advertise_address, options.secure_port),
            service_range=options.service_cluster_ip_range,
        )
        self._logs = PodLogs(self._registry, nodes)
        self._connects = ConnectFront(
            self._registry, self._reader, rng, node_context(nodes) if nodes else None
        )
        self._rpc = RpcServer(
            ObjectsService(
                self._registry,
                self._authenticator,
                self.flow,
                RemoteObjects(self._aggregator, self._authorizer),
            ),
            PodsService(self._logs, self._authenticator),
            self._auditor,
        )
        self._rest = GrpcServer(_LIMITS, http=self._make_front().handle)

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stopping.set()

    async def run(self) -> None:
        """Start, serve until `stop`, and stop.

        Raises:
            OSError: an address is taken.
            RuntimeError: a task that serving depends on came to its end by itself.
        """
        tasks = [
            asyncio.create_task(self._cache.run(), name="watch-cache"),
            asyncio.create_task(Compactor(self._store, self._clock).run(), name="compactor"),
            asyncio.create_task(self._definitions.run(), name="definitions"),
            asyncio.create_task(self._policy_status.run(), name="policy-status"),
        ]
        if self._options.encryption_provider_config_automatic_reload and self._encryption:
            assert isinstance(self._store, EncryptedStore)
            following = self._encryption.follow(self._store.use)
            tasks.append(asyncio.create_task(following, name="encryption-config"))
        if self._has_flow_objects:
            status = FlowStatus(self._reader, self._writer, self._clock)
            tasks.append(asyncio.create_task(status.run(), name="flow-status"))
        for task in tasks:
            task.add_done_callback(self._on_end)
        try:
            await self._listen()
            if await self._prepared():
                service = asyncio.create_task(self._service.run(), name="kubernetes-service")
                service.add_done_callback(self._on_end)
                tasks.append(service)
                await self._serve()
                aggregating = asyncio.create_task(self._aggregator.run(), name="aggregation")
                aggregating.add_done_callback(self._on_end)
                tasks.append(aggregating)
                await self._stopping.wait()
        finally:
            await self._shut_down(tasks)
        if self._failed is not None:
            raise self._failed

    async def _listen(self) -> None:
        host, port = self._options.bind_address, self._options.secure_port
        try:
            self._rest.listen(host, port, https_context(self._options), reuse_port=True)
        except OSError as error:
            raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        await self._rest.start()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """A server whose cache stands still must not go on: whoever started it starts another."""
        if not self._stopping.is_set():
            error = None if task.cancelled() else task.exception()
            _log.error("task_failed", task=task.get_name(), exc_info=error)
            self._failed = RuntimeError(f"{task.get_name()} ended: {error or 'cancelled'}")
            self._failed.__cause__ = error
            self.stop()

    async def _prepared(self) -> bool:
        """Fill the caches and bootstrap; False where the stop came first."""

        async def prepare() -> None:
            await self._cache.wait_synced()
            await bootstrap(self._reader, self._writer)
            if self._has_flow_objects:
                await ensure_flow_objects(self._reader, self._writer)
            # Authorization must see what bootstrap wrote before the first request comes.
            while True:
                try:
                    await self._cache.fresh()
                except CacheBehindError:  # a store that is just starting; a reason to wait
                    _log.warning("watch_cache_behind", revision=self._cache.revision)
                else:
                    return

        preparing = asyncio.create_task(prepare(), name="prepare")
        stopping = asyncio.create_task(self._stopping.wait(), name="wait-for-stop")
        await asyncio.wait((preparing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not preparing.done():
            preparing.cancel()
            return False
        preparing.result()
        return True

    async def _serve(self) -> None:
        options = self._options
        tls = ServerTls(options.tls_cert_file, options.tls_private_key_file, options.client_ca_file)
        host = options.bind_address
        if options.grpc_port:
            await self._rpc.start(f"{host}:{options.grpc_port}", tls)
        if options.grpc_mtls_port:
            await self._rpc.start(f"{host}:{options.grpc_mtls_port}", tls, mutual=True)
        await self._rpc.set_serving(serving=True)
        self._ready = True
        _log.info("ready", identity=options.identity, grpc=options.grpc_port)

    async def _shut_down(self, tasks: list[asyncio.Task[None]]) -> None:
        self._ready = False
        self._stopping.set()
        await self._rpc.set_serving(serving=False)
        self._cache.close(ServiceUnavailableError("the API server is shutting down"))
        await self._rpc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._connects.relays.close()
        await self._rest.stop(STOP_GRACE_S)
        await self._connects.close()
        await self._logs.close()
        await self._sources.close()
        await self._webhooks.close()
        await self._aggregator.close()
        if self._audit_log is not None:
            await asyncio.to_thread(self._audit_log.close)
        await self._store.close()
        _log.info("stopped", identity=self._options.identity)

    def _end_watches(self, prefix: str) -> None:
        """Of a resource that is no longer served, or not in all its versions."""
        gone = ServiceUnavailableError("the resource is no longer served as it was")
        self._cache.resources[prefix].close(gone)

    def _make_reads(self) -> Reads:
        reads: Reads = CachedReads(self._store, self._cache)
        if isinstance(self._store, EncryptedStore):
            reads = KnownReads(reads, self._store.unreadable)
        return reads

    def _make_authenticator(self) -> Authenticator:
        options = self._options
        accounts = ServiceAccountAuthenticator(
            keys=self._keys,
            issuers=options.service_account_issuers,
            audiences=options.api_audiences,
            reader=self._reader,
            writer=self._writer,
            now=self._now_s,
        )
        tokens = options.token_auth_file
        return Authenticator(
            certificates=CertificateAuthenticator(self._now_s),
            tokens=load_token_file(tokens) if tokens else TokenFile(()),
            service_accounts=accounts if self._keys else None,
            others=self._sources.authenticators,
            audiences=options.api_audiences,
        )

    def _make_policy(self, rng: SystemRandom) -> Policy:
        options = self._options
        context = make_context(self._machinery, self._reader, self._writer, rng)
        context = replace(context, figures=self._figures)
        chain = build_chain(
            context,
            self._authorizer,
            load_hooks(context),
            toleration_s=options.default_toleration_s,
            webhooks=self._webhooks,
            enabled=options.enable_admission_plugins,
            disabled=options.disable_admission_plugins,
        )
        issuer: TokenIssuer | None = None
        if options.service_account_signing_key_file:
            issuer = TokenIssuer(
                key=load_signing_key(options.service_account_signing_key_file),
                issuer=options.service_account_issuers[0],
                audiences=options.api_audiences,
                writer=self._writer,
                now=self._now_s,
                new_id=lambda: str(uuid.uuid4()),
            )
        return Policy(self._authorizer, chain, issuer)

    def _make_front(self) -> RestFront:
        live = {"ping": ping}
        ready = {
            **live,
            "etcd": self._check_store,
            "informer-sync": self._check_caches,
            "poststarthook/bootstrap": self._check_ready,
            "shutdown": self._check_shutdown,
        }
        checks = {"livez": live, "readyz": ready, "healthz": {**live, "etcd": self._check_store}}
        address = f"{self._options.bind_address}:{self._options.secure_port}"
        documents = issuer_documents(
            issuer=self._options.service_account_issuers[0],
            jwks_uri=self._options.service_account_jwks_uri or f"https://{address}{JWKS_PATH}",
            keys=self._keys,
        )
        return RestFront(
            self._registry,
            self._authenticator,
            HealthFront(checks, self._figures.text),
            self._logs,
            self._connects,
            address=address,
            is_ready=lambda: self._ready,
            issuer=documents,
            flow=self.flow,
            anonymous=self._sources.anonymous,
            aggregator=self._aggregator,
            audit=self._auditor,
        )

    async def _check_store(self) -> str:
        with contextlib.suppress(TimeoutError):
            try:
                async with asyncio.timeout(STORE_CHECK_TIMEOUT_S):
                    await self._store.revision()
            except ApiError as error:
                return error.message
            return ""
        return "the store did not answer in time"

    async def _check_caches(self) -> str:
        return "" if self._cache.synced else "the watch caches are not filled"

    async def _check_ready(self) -> str:
        return "" if self._ready or self._stopping.is_set() else "not finished"

    async def _check_shutdown(self) -> str:
        return "process is shutting down" if self._stopping.is_set() else ""

    def _count(self, prefix: str) -> int:
        cache = self._cache.resources.get(prefix)
        return len(cache.entries) if cache else 0

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def _audit_log(options: Options, clock: Clock) -> tuple[AuditPolicy, LogFile | None]:
    """The policy and the log; without both flags nothing is logged, as upstream."""
    if options.audit_policy_file is None or not options.audit_log_path:
        return AuditPolicy(()), None
    days = options.audit_log_age_days_max
    return load_policy(options.audit_policy_file), LogFile(
        options.audit_log_path,
        now=clock.now,
        size_max=options.audit_log_mebibytes_max << 20,
        age_max=timedelta(days=days) if days else None,
        backups_max=options.audit_log_backups_max,
    )
