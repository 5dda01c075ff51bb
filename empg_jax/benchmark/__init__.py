"""What launch/benchmark.py measures: one file a suite, each with `measure(...)` and `show(...)`."""
