"""Environments: text in, text out. Nothing in this package imports jax."""
