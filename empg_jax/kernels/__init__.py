"""GPU and TPU kernels, and their equivalents for other hardware."""
