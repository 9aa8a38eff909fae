"""Scores of classifiers, their intervals, and tests on the same pictures."""
