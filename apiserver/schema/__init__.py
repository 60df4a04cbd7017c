"""The Kubernetes 1.37 schema: decoding as kube-apiserver decodes, and validation."""
