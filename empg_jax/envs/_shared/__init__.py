"""What several environments share: a search index, records on disk, checks of answers."""
