"""Kernels of GPUs and TPUs, and what computes the same elsewhere."""
