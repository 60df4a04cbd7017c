"""One process that starts all others of a cluster, keeps them running and stops them.

The parts:

specs        which processes a cluster has, with their flags            (pure)
child        what became of one of them, and when it is started again   (pure)
linux        the kernel calls that leave nothing behind
zygote       a process that has imported what all need, and forks them
spawner      the supervisor's end of the zygote
supervisor   the loop that reaps, restarts, kills and stops
control      the socket that commands come through, and its client
daemon       starting the supervisor detached; its pid file

The pure parts know no clock and no process; the others hold no decisions.
"""
