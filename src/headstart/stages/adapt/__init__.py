"""The stage `adapt`."""
