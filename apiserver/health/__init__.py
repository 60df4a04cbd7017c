"""A small HTTPS front for probes, version and metrics, until the REST front takes its port."""
