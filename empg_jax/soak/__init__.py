"""Small runs with injected faults, which must end as undisturbed ones do (launch/soak.py)."""
