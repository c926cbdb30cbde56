"""Request policies: when an edge uploads; one file each."""
