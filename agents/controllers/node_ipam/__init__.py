"""Ranges of Pods' addresses for Nodes: pools (what is free), controller (who is given what)."""
