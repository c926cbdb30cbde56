"""Backbones as functional models with per-edge weights, and their costs."""
