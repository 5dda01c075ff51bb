"""Plans a run for other hardware: compiles its programs for a topology and analyses them."""
