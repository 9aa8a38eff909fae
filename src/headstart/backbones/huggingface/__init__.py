"""Repositories of the Hugging Face hub as backbones."""
