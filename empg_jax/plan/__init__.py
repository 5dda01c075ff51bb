"""What a run takes on TPUs that are not there: programs compiled for a topology, and read."""
