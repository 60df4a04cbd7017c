"""Pod garbage collection: Pods that no node agent will ever end."""
