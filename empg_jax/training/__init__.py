"""Updating the policy: each update is one XLA program."""
