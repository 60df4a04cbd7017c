"""What may keep a Pod off a node, and what makes one node better than another."""
