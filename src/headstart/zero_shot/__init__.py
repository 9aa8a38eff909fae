"""Classes guessed by their names, without labels."""
