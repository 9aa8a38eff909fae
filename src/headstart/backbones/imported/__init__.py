"""A user's own network file as a backbone."""
