"""The edge side of a run: the edges of a cell, computed together."""
