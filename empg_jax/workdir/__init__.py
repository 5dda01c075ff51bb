"""The folder of a run: its lock, resuming, and initial weights."""
