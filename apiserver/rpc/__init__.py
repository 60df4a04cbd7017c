"""The gRPC front: translates kubraft.v1 requests into calls of the registry, and answers back."""
