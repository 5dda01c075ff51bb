"""Configs: presets, what their values may be, and how names in them are found."""
