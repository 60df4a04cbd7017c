"""Deployment: a template's Pods replaced step by step, through ReplicaSets."""
