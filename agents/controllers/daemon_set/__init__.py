"""DaemonSets: one Pod on each node that is fit for it."""
