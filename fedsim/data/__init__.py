"""Data sets: where streams come from; one file each."""
