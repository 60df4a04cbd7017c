"""The cloud controller manager: what a cluster needs of the place where its machines are.

    informers > controllers (nodes, Services) > provider (instances, load balancers, routes)

The controllers know no provider; a provider is found by name: docs/cloud.md. `local` is the one of
a cluster on one machine.
"""

from __future__ import annotations

import os

# The local provider's routes start a program each; gRPC would log a line about each start.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
