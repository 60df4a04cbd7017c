"""Garbage collection: what its owners leave behind is deleted, or orphaned where they say so."""
