"""Objects on the store: an etcd v3 client, the storage contract, and the watch cache."""
