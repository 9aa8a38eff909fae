"""From one domain to another with few or no labels: the shift is measured, adaptation is tried and guarded."""
