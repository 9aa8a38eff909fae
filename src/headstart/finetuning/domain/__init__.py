"""Trunks that are adapted to unlabelled pictures of another domain."""
