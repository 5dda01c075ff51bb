"""Small runs that are disturbed on purpose, to show that nothing is lost (launch/soak.py)."""
