"""The HTTPS front: Kubernetes' REST API as calls of the registry, and the answers back."""
