"""Backbones compared by probes on the same folds."""
