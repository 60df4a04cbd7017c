"""The service proxy: a Service's addresses lead to its ready Pods.

    informers > fronts (what to listen on, and who is behind it) > listeners > relays

The core (fronts, balancer) is pure: Services and EndpointSlices in, a table out. The shell
(listeners, tcp_relay, udp_relay, proxy) has the sockets and talks to the API server.
"""
