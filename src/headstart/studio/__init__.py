"""A local page for people who do not program."""
