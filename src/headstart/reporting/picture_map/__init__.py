"""The map of the pictures: a page of its own beside the report, and the small picture of it there."""
