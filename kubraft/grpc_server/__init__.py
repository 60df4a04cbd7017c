"""A gRPC server in Python on asyncio, for servers whose calls are many and small.

It takes the handlers that grpcio's generated code registers, and speaks HTTP/2 itself: what
grpcio's own asyncio server spends on a call, in threads and wakeups, is several times what such a
call costs here. Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK), gRPC over HTTP/2.
"""
