"""Strategies: both halves of the conversation of edge and cloud; one file each."""
