"""Policy updates; each is one XLA program."""
