"""What the clients do: small programs that run until they are stopped, each a row of TRAFFIC.

Every value is written once only, so that who wrote what is plain. Keys whose first part is the
same belong to one program; `register/` alone is judged by the search for a linear order.
"""

from __future__ import annotations

from tests.robustness.traffic import jepsen, key_values, kubernetes, watching
from tests.robustness.traffic.load import Load, Program

__all__ = ["COLLECTORS", "TRAFFIC", "Load", "Program"]

# Program, and how many clients run it.
TRAFFIC: tuple[tuple[Program, int], ...] = (
    (key_values.registers, 4),
    (key_values.transactions, 2),
    (key_values.leases, 2),
    (key_values.ranges, 1),
    (key_values.compactions, 1),
    (kubernetes.objects, 2),
    (kubernetes.reflectors, 1),
    (watching.watches, 2),
    (watching.shared_streams, 2),
    (jepsen.sets, 1),
    (jepsen.appends, 3),
    (jepsen.locks, 3),
)
COLLECTORS = 2
