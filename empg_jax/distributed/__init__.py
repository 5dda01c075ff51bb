"""Several devices and processes: meshes, hosts, and preemption."""
