"""Decoder-only language models as plain pytrees, named and shaped as Hugging Face has them."""
