"""The command `empg` and what all scripts of launch/ share."""
