"""The folder of a run: who may write in it, how it goes on, what it began with."""
