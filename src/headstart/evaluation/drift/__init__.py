"""Whether what a model is asked now is still what it was measured on."""
