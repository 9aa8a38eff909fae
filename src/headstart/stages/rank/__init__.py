"""The stage `rank`."""
