"""Checks of data and of models: one file a check."""
