"""The algorithm: pure functions of arrays that depend on jax alone."""
