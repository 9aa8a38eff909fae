"""The stage `embed`."""
