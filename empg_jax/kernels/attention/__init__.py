"""Causal attention of whole rows: `causal(q, k, v)`, one file per backend.

reference.py is the definition; blocks.py runs everywhere, cudnn.py on GPUs and splash.py on
TPUs.
"""
