"""Sampling replies: one jitted program a turn, the KV cache living on across turns."""
