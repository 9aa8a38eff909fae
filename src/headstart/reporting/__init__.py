"""A finished run for people: page, model card, charts."""
