"""StatefulSets: Pods with names, places and storage that stay."""
