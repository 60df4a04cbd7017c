"""`make demo`: the story of a cluster that is killed and heals, told with real commands."""
