"""The node agent: registers its Node, runs the Pods bound to it through CRI, reports on them."""
