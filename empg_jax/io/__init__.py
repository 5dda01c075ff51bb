"""Files, standard streams and text that users write or read."""
