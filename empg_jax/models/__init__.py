"""Decoder-only language models as plain pytrees, with Hugging Face's names and shapes."""
