"""Drift processes: how interests move; one file each."""
