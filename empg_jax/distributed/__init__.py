"""Several devices and processes: meshes, hosts, and a stop that all make together."""
