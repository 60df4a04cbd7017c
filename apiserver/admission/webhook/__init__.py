"""Webhooks: admission by other servers over HTTPS."""
