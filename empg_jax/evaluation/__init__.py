"""How good an agent is, with intervals, and whether one is better than another."""
