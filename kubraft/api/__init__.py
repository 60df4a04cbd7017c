"""The Kubernetes vocabulary that all processes share: kinds, errors, labels, quantities."""
