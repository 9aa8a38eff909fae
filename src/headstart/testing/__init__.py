"""Public doubles and conformance suites for plugins."""
