"""The command `empg`, and code shared by the scripts of launch/."""
