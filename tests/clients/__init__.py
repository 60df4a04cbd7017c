"""Clients that others wrote, unchanged, against a server that is started as envtest starts it."""
