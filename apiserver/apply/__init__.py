"""Who manages which field of an object, and server-side apply. Pure: no clock, no I/O, no kinds.

`fields` are sets of fields, `types` what a schema says of merging, `walk` and `merging` go along an
object by its type, `managers` are the entries of metadata.managedFields, `updater` decides.

Source: Kubernetes documentation, "Server-Side Apply"; KEP-555; structured-merge-diff.
"""
