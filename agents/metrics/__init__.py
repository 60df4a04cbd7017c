"""The metrics server: what nodes and Pods use now, as metrics.k8s.io/v1beta1."""
