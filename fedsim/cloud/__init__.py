"""The cloud side of a run: what a strategy needs around it to answer a population."""
