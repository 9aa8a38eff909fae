"""A run folder that also lies in a bucket: brought at the start, sent every few seconds, whole at any moment."""
