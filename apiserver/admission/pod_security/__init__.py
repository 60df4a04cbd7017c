"""Pod Security: what the Pods of a namespace may be, by labels of the namespace."""
