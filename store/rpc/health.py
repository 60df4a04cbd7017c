"""The health of the member, for all services at once as in etcd. Source: gRPC health checking."""

from __future__ import annotations

import grpc
from grpc_health.v1 import _async as aio_health
from grpc_health.v1 import health_pb2 as pb

from store.rpc.caller import Context

# The one name there is: the whole member.
_MEMBER = ""
_UNKNOWN_SERVICE = "unknown service"


class Health(aio_health.HealthServicer):  # type: ignore[misc]  # the library has no types
    """Serving from the first quorum until the member leaves; not while it is being defragmented."""

    def __init__(self) -> None:
        super().__init__()
        self._server_status[_MEMBER] = pb.HealthCheckResponse.NOT_SERVING

    async def Check(  # noqa: N802  # gRPC's name
        self, request: pb.HealthCheckRequest, context: Context
    ) -> pb.HealthCheckResponse:
        status = self._server_status.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, _UNKNOWN_SERVICE)
        return pb.HealthCheckResponse(status=status)

    async def List(  # noqa: N802
        self, _: pb.HealthListRequest, __: Context
    ) -> pb.HealthListResponse:
        shown = {
            name: pb.HealthCheckResponse(status=status)
            for name, status in self._server_status.items()
        }
        return pb.HealthListResponse(statuses=shown)

    async def set_serving(self, *, serving: bool) -> None:
        states = pb.HealthCheckResponse
        await self.set(_MEMBER, states.SERVING if serving else states.NOT_SERVING)
