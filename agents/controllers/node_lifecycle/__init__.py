"""Node lifecycle: which nodes are alive, what that marks on them, and which Pods must go."""
