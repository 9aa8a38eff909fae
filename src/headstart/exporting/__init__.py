"""A run's model in other formats, each compared with the saved model."""
