"""Streams of exec, attach and port-forward: what clients speak, and how it is relayed."""
