"""Scripts that print figures; `python -m benchmarks` runs them all. Nothing here is asserted by the tests."""
