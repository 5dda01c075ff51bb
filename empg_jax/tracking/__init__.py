"""What a run reports: metrics, trackers, the console, episodes as files."""
