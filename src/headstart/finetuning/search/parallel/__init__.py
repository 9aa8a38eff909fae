"""Folds that train on the workers of a cluster."""
