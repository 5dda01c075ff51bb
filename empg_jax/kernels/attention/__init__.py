"""Causal attention of whole rows: `causal(q, k, v)`, in one file a backend.

reference.py says plainly what it is; blocks.py runs everywhere, cudnn.py on GPUs and splash.py
on TPUs.
"""
