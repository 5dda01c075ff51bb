"""The algorithm: pure functions of arrays, on jax alone."""
