"""Namespace deletion: all that is in a terminating Namespace goes, then the Namespace itself."""
