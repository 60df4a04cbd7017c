"""Priority and fairness: who takes a turn when more is asked than can be done at once.

A FlowSchema puts a request into a flow of a priority level. A level has seats; whoever finds none
waits in a queue that its flow was dealt, and queues take turns, so that a greedy flow waits for
itself. All is decided without I/O in the server's event loop.

Source: Kubernetes documentation, "API Priority and Fairness"; KEP-1040.
"""

from apiserver.flow.control import FlowControl, Turn

__all__ = ["FlowControl", "Turn"]
