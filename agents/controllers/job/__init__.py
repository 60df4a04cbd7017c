"""Jobs: Pods that run to completion, counted once each."""
