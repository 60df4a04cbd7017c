"""Nodes without machines: one process keeps many Nodes, and their Pods only seem to run."""
