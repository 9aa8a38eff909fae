"""Clouds that serve a finished run at an endpoint: a file each."""
