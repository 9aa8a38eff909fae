"""A labelled folder: read, audited, split."""
