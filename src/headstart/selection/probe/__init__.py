"""The head on frozen features: chosen by paired cross-validation, fitted on all training pictures."""
