"""The cluster's name server: Services, their endpoints and Pods by name; other names are forwarded.

    datagram or stream > message > zone (pure: names and caches in, records out) > message
                                 > forwarder (other names: the host's name servers, a cache)

The core (names, zone, records, message, answer_cache) opens nothing. The shell (catalog, forwarder,
server, registration) has the sockets and talks to the API server.
"""
