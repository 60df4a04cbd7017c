"""The service proxy: a Service's addresses lead to its ready Pods.

    picture (informers) > proxy > userspace: fronts > listeners > relays
                                  nftables: service_rules > ruleset > transaction > nft_table

The core (service_ports, fronts, balancer, service_rules, ruleset, transaction, health) is pure:
Services and EndpointSlices in, a table out. The shell has the sockets, runs nft, and talks to the
API server.
"""

import os

# nft is a child process; gRPC's preparations for a fork are of no use to one that only executes.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
