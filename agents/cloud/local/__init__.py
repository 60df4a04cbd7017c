"""The provider of a cluster on one machine: its processes are the machines.

inventory (cluster.json, the supervisor)    load_balancers (addresses, their file, sockets)
"""
