"""A gRPC client in Python on asyncio: the other side of `kubraft/grpc_server`.

It takes the stubs that grpcio's generated code makes, and raises grpcio's errors; frames, headers,
windows and messages are the server's own. What grpcio's asyncio client spends on a call, in a
thread, wakeups and conversions, was a third of a write's cost to the API server.
Source: RFC 9113 (HTTP/2), gRPC over HTTP/2; docs/adr/0061-grpc-client-of-our-own.md.
"""
