"""Requests to answers: models by name, batches, one engine."""
