"""The suites of launch/benchmark.py, one file each, with `measure(...)` and `show(...)`."""
