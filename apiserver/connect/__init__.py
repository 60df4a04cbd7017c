"""Requests that end at a node, a Pod or a Service: exec, attach, portforward and proxy.

The server decides who may, and where to; what is said then is between the client and the other
end. Nothing here speaks WebSocket, SPDY or anything else that comes after an upgrade.
"""
