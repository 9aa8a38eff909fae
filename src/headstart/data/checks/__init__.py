"""Checks of the data set, each with a code: one file a check."""
