"""Playing episodes: which tasks, the host-side actor, and padded batches."""
