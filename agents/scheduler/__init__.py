"""The scheduler: gives each Pod that has no node the best one of those that suit it.

    informers > queue > cluster snapshot > filter > score > assume > bind

The core (pod_info, node_info, cluster, framework, plugins, algorithm, queue) is pure: no I/O, time
and chance are passed in. The shell (scheduler, binder, reporter) talks to the API server.
"""
