"""One file a format into which a run's model is exported."""
