"""The built-in images as real ones: made of this machine's own programs, served to containerd."""
