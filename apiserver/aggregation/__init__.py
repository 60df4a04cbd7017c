"""Versions of groups that other API servers have, served through this one.

Source: kube-aggregator; Kubernetes documentation, "Kubernetes API Aggregation Layer".
"""
