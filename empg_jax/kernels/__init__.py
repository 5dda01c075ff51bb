"""Pallas kernels for TPU, behind functions that run everywhere."""
