"""What several environments stand on: a search index, and things built on disk once."""
