"""ReplicaSet: so many Pods of one template, no more and no fewer."""
