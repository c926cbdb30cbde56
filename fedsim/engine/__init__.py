"""Flower grids and the round loop."""
