"""Structural schemas of custom resources: pruning, defaulting, validation. Pure.

A schema is the `openAPIV3Schema` of a CustomResourceDefinition as JSON; that it is structural has
been checked when it was written (`form`), so the walks here need not look again.

Source: Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions".
"""
