"""Evaluates agents: success with intervals, and paired comparisons of two agents."""
