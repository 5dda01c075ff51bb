"""Configs: presets, bounds of values, and lookup of names."""
