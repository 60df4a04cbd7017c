"""The runtime's streaming server: exec, attach, port-forward over WebSocket and SPDY."""
