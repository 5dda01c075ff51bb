"""Files, standard streams and text: what comes in from a user and goes out to one."""
