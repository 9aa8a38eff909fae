"""Checks of training curves, each with a code: one file a check."""
