"""Inner loops in numba, and their torch fallbacks with the same bits."""
